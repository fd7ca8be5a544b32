"""Agreement of multiple choice by likelihood with lm-evaluation-harness, item by item, on ARC-Easy.

Needs `lm-eval[hf]` (it was made with 0.4.13) beside weitiao, a model directory, and the ARC-Easy test rows in the form
of LLM-Adapters (a JSON array; the choices stand in `instruction`, the right one in `answer`):

    python -m benchmarks.choice MODEL_DIR arc_easy_test.json --num 200
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from weitiao.evaluation.likelihood import ChoiceItem, ChoiceResult, score_choices
from weitiao.machine.hardware import configure_process
from weitiao.methods.open import open_model

_INSTRUCTION = re.compile(r"the question: (?P<question>.*?)\n\nAnswer1: (?P<choices>.*?)\n\nAnswer format", re.DOTALL)

_TASK = """task: arc_easy_rows
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - {{metric: acc}}
"""


def read_rows(path: Path, num: int) -> list[dict[str, Any]]:
    """The first rows as question, choices and the index of the right one."""
    rows = []
    for row in json.loads(path.read_text(encoding="utf-8"))[:num]:
        found = _INSTRUCTION.search(row["instruction"])
        assert found is not None, row["instruction"]
        choices = re.split(r" Answer\d+: ", found["choices"])
        answer = int(row["answer"].removeprefix("answer")) - 1
        rows.append({"question": found["question"], "choices": [c.strip() for c in choices], "answer": answer})
    return rows


def by_lm_eval(model_dir: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What lm-evaluation-harness logs for every item, in the order of the rows."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "rows.jsonl")
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        Path(folder, "arc_easy_rows.yaml").write_text(_TASK.format(rows=data), encoding="utf-8")
        found = simple_evaluate(
            model="hf",
            model_args={"pretrained": str(model_dir), "dtype": "float32"},
            tasks=["arc_easy_rows"],
            task_manager=TaskManager(include_path=folder, include_defaults=False),
            device="cpu",
            batch_size=8,
            bootstrap_iters=0,
        )
    return sorted(found["samples"]["arc_easy_rows"], key=lambda sample: int(sample["doc_id"]))


def by_forest(model_dir: Path, rows: list[dict[str, Any]]) -> list[ChoiceResult]:
    """What weitiao finds."""
    opened = open_model(model_dir)
    items = [
        ChoiceItem(str(i), f"Question: {row['question']}\nAnswer:", tuple(row["choices"]), row["answer"])
        for i, row in enumerate(rows)
    ]
    return score_choices(opened.model, opened.tokenizer, items, token_budget=2048)


def _choice(sample: dict[str, Any]) -> int:
    """The most likely choice by lm-evaluation-harness's own figures."""
    values = [float(response[0][0]) for response in sample["resps"]]
    return values.index(max(values))


def main() -> None:
    """Score with both, and print how well they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a Hugging Face directory")
    parser.add_argument("rows", type=Path, help="arc_easy_test.json of LLM-Adapters")
    parser.add_argument("--num", type=int, default=200, help="items")
    arguments = parser.parse_args()
    configure_process()
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    rows = read_rows(arguments.rows, arguments.num)
    begun = time.perf_counter()
    ours = by_forest(arguments.model, rows)
    between = time.perf_counter()
    theirs = by_lm_eval(arguments.model, rows)
    seconds = {"weitiao": between - begun, "lm-eval": time.perf_counter() - between}
    differences = [
        abs(mine - float(response[0][0]))
        for one, sample in zip(ours, theirs, strict=True)
        for mine, response in zip(one.log_likelihoods, sample["resps"], strict=True)
    ]
    pairs = list(zip(ours, theirs, strict=True))
    print(
        json.dumps(
            {
                "items": len(rows),
                "log_likelihoods": len(differences),
                "largest_difference_nats": max(differences),
                "acc": sum(one.correct for one in ours) / len(ours),
                "lm_eval_acc": sum(sample["acc"] for sample in theirs) / len(theirs),
                "items_with_other_choice": sum(one.choice != _choice(sample) for one, sample in pairs),
                "items_with_other_acc": sum(one.correct != bool(sample["acc"]) for one, sample in pairs),
                "seconds": seconds,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
