"""Benchmarks through lm-evaluation-harness, offline, against likelihoods that transformers computes one by one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.tasks import manager
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import evaluate_target

from weitiao.errors import RecipeError
from weitiao.evaluation.benchmarks import run_benchmarks
from weitiao.evaluation.statistics import proportion

ITEMS = [
    {"question": question, "choices": choices, "answer": answer}
    for question, choices, answer in (
        ("one word?", ["a", "model", "examples"], 0),
        ("few short?", ["learns", "the question in one word", "answer"], 2),
        ("what is it?", ["user", "system", "small"], 1),
        ("answer the question", ["short", "assistant", "from"], 0),
        ("a?", ["in", "word", "one small model"], 1),
    )
]
CHOICE = """\
task: tiny_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
TEXT = """\
task: tiny_text
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}} {{{{choices[0]}}}}"
metric_list: [{{metric: bits_per_byte}}]
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A directory with two tasks over a local file."""
    data = tmp_path / "items.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in ITEMS), encoding="utf-8")
    (tmp_path / "tasks").mkdir()
    for name, text in (("choice", CHOICE), ("text", TEXT)):
        (tmp_path / "tasks" / f"{name}.yaml").write_text(text.format(data=data), encoding="utf-8")
    return tmp_path / "tasks"


@pytest.fixture(scope="module")
def plain(tiny_llama_dir: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="sdpa").eval()
    return model, AutoTokenizer.from_pretrained(tiny_llama_dir)


def log_likelihood(model: Any, tokenizer: Any, question: str, choice: str) -> float:
    """Of a choice behind its question."""
    context = tokenizer(f"Question: {question}\nAnswer:").input_ids
    whole = tokenizer(f"Question: {question}\nAnswer: {choice}").input_ids
    with torch.no_grad():
        logs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logs[place - 1, whole[place]]) for place in range(len(context), len(whole)))


def test_accuracy_is_that_of_the_most_likely_choices(tasks: Path, plain: tuple[Any, Any]) -> None:
    right, right_by_length = [], []
    for item in ITEMS:
        found = [log_likelihood(*plain, item["question"], choice) for choice in item["choices"]]
        by_length = [one / len(choice) for one, choice in zip(found, item["choices"], strict=True)]
        right.append(found.index(max(found)) == item["answer"])
        right_by_length.append(by_length.index(max(by_length)) == item["answer"])
    assert 0 < sum(right) < 5
    found = run_benchmarks(*plain, ["tiny_choice"], path=tasks)
    assert found.scores == {
        "tiny_choice": {"acc": proportion(sum(right), 5), "acc_norm": proportion(sum(right_by_length), 5)}
    }
    assert [one["benchmark"] for one in found.samples] == ["tiny_choice"] * 5
    by_item = sorted(found.samples, key=lambda one: int(one["doc_id"]))
    assert [bool(one["acc"]) for one in by_item] == right
    assert [one["doc"]["question"] for one in by_item] == [item["question"] for item in ITEMS]


def test_a_score_that_is_no_mean_of_items_has_an_interval_too(
    tasks: Path, plain: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_benchmarks(*plain, ["tiny_text", "tiny_choice"], path=tasks, limit=4)
    bits = found.scores["tiny_text"]["bits_per_byte"]
    assert bits.n == found.scores["tiny_choice"]["acc"].n == 4
    pairs = [one["bits_per_byte"] for one in found.samples if one["benchmark"] == "tiny_text"]
    assert bits.value == pytest.approx(-sum(a for a, _ in pairs) / sum(b for _, b in pairs) / math.log(2))
    each = [-a / b / math.log(2) for a, b in pairs]
    assert min(each) <= bits.low < bits.value < bits.high <= max(each)
    assert capsys.readouterr().out == ""  # stdout is for results


def test_a_group_is_scored_over_all_items(tasks: Path, plain: tuple[Any, Any]) -> None:
    for name in ("one", "two"):
        text = (tasks / "choice.yaml").read_text(encoding="utf-8").replace("tiny_choice", name)
        (tasks / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tasks / "both.yaml").write_text(
        "group: both\ntask: [one, two]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]\n"
    )
    found = run_benchmarks(*plain, ["both"], path=tasks)
    assert list(found.scores) == ["both", "one", "two"]
    right = sum(bool(one["acc"]) for one in found.samples)
    assert found.scores["both"]["acc"] == proportion(right, 10)


def test_what_is_not_there_is_named(tasks: Path, plain: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (tasks / "brought").mkdir()  # what the harness brings: one file, for its own 14,000 take 20 seconds to read
    (tasks / "text.yaml").rename(tasks / "brought" / "text.yaml")
    monkeypatch.setattr(manager, "__file__", str(tasks / "brought" / "manager.py"))
    with pytest.raises(RecipeError, match="no task `tiny_choise`"):
        run_benchmarks(*plain, ["tiny_choise"], path=tasks)
    with pytest.raises(RecipeError, match="no directory"):
        run_benchmarks(*plain, ["tiny_choice"], path=tasks / "missing")


def test_a_recipe_runs_benchmarks_beside_its_test_rows_or_alone(
    tasks: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {tiny_llama_dir}\ndata: {{train: rows.jsonl}}\nrun_dir: {tmp_path / 'run'}\n"
        f"evaluate: {{benchmarks: [tiny_choice], benchmark_path: {tasks}, benchmark_limit: 3}}\n"
    )
    scored = evaluate_target(recipe)
    assert scored.scores.metrics == {}
    assert scored.scores.benchmarks["tiny_choice"]["acc"].n == 3
    stored = json.loads((tmp_path / "run" / "scores-base.json").read_text())
    assert list(stored["benchmarks"]["tiny_choice"]["acc"]) == ["value", "low", "high", "n"]
    lines = (tmp_path / "run" / "benchmarks-base.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["benchmark"] for line in lines] == ["tiny_choice"] * 3
