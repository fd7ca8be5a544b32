"""Time few-shot classification: python -m benchmarks.fewshot --data DIR

The same prompts, token by token, are answered by this project's generator and by `transformers.generate` in left-padded
batches of the same size: rows of banking77's test file, all 77 intents named in the system text, and the same solved
examples before every question (`selection: random`). Both run greedily in float32 on the same weights. Prints one JSON
line: seconds of each (the model is loaded and has answered one row before) and of its threads on the processor, the
ratios, and how many answers are identical, token by token. DIR holds `classify/banking77_train.csv` and
`classify/banking77_test.csv` (PolyAI).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.machine.hardware import configure_process

if TYPE_CHECKING:
    from weitiao.generation.generate import Completion
    from weitiao.recipe import Recipe


def main() -> None:
    """Parse, measure both, print."""
    configure_process()
    import torch

    from weitiao.generation.generate import generate, stop_ids
    from weitiao.models.attention import FOREST
    from weitiao.models.load import load_model
    from weitiao.study.dataset import prepare_tokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=20)
    args = parser.parse_args()

    recipe = banking_recipe(args.data, args.model, num_rows=args.rows)
    settings = recipe.evaluate.generation.model_copy(
        update={"max_new_tokens": args.new_tokens, "batch_size": args.batch_size}
    )
    tokenizer = prepare_tokenizer(recipe)
    prompts = few_shot_prompts(recipe, tokenizer, num_shots=args.shots)
    model: Any = load_model(recipe.model, attention=FOREST)
    stops = stop_ids(model, tokenizer)
    ours, our_seconds, our_cpu = timed(lambda some: generate(model, some, settings, stop_ids=stops), prompts)
    model.set_attn_implementation("sdpa")
    theirs, their_seconds, their_cpu = timed(
        lambda some: padded(model, some, stops, batch_size=args.batch_size, new_tokens=args.new_tokens), prompts
    )
    result = {
        "rows": len(prompts),
        "shots": args.shots,
        "batch_size": args.batch_size,
        "new_tokens": args.new_tokens,
        "prompt_tokens": sum(map(len, prompts)),
        "answer_tokens": sum(len(answer.token_ids) for answer in ours),
        "identical": sum(one == other for one, other in zip(ours, theirs, strict=True)),
        "weitiao_seconds": round(our_seconds, 2),
        "transformers_seconds": round(their_seconds, 2),
        "ratio": round(their_seconds / our_seconds, 2),
        "weitiao_cpu_seconds": round(our_cpu, 2),
        "transformers_cpu_seconds": round(their_cpu, 2),
        "cpu_ratio": round(their_cpu / our_cpu, 2),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


def banking_recipe(data: Path, model: str, *, num_rows: int) -> Recipe:
    """The recipe: a seeded sample of the test rows, and all intents in the system text."""
    import csv

    from weitiao.recipe import recipe_from_dict

    train = data / "classify" / "banking77_train.csv"
    with train.open(encoding="utf-8", newline="") as file:
        intents = ", ".join(sorted({row["category"] for row in csv.DictReader(file)}))
    meaning = {
        "system": f"Classify the customer message into one intent. Intents: {intents}. Answer with the intent only.",
        "prompt": "{{ text }}",
        "completion": "{{ category }}",
    }
    test = {"path": str(data / "classify" / "banking77_test.csv"), "sample": num_rows, **meaning}
    return recipe_from_dict(
        {"model": {"name": model, "dtype": "float32"}, "data": {"train": {"path": str(train), **meaning}, "test": test}}
    )


def few_shot_prompts(recipe: Recipe, tokenizer: Any, *, num_shots: int) -> list[list[int]]:
    """The prompts of the test rows, with the same examples before each."""
    from weitiao.baseline.fewshot import choose_shots, with_shots
    from weitiao.data.load import load_data
    from weitiao.rendering.render import Prompts

    rows = load_data(recipe.data)
    chosen = choose_shots(rows.train, rows.test, num=num_shots, selection="random", seed=0)
    examples = [with_shots(row, shots) for row, shots in zip(rows.test, chosen, strict=True)]
    prompt = Prompts(tokenizer)
    return [prompt(example.prompt) for example in examples]


def timed(
    answer: Callable[[Sequence[list[int]]], list[Completion]], prompts: Sequence[list[int]]
) -> tuple[list[Completion], float, float]:
    """The answers, their seconds, and their seconds on the processor, after one row that does not count."""
    answer(prompts[:1])
    begun, begun_cpu = time.perf_counter(), time.process_time()
    answers = answer(prompts)
    return answers, time.perf_counter() - begun, time.process_time() - begun_cpu


def padded(
    model: Any, prompts: Sequence[list[int]], stops: frozenset[int], *, batch_size: int, new_tokens: int
) -> list[Completion]:
    """Answers by `transformers.generate` in left-padded batches."""
    import torch

    from weitiao.generation.generate import Completion

    answers = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in batch])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in batch])
        with torch.no_grad():
            output = model.generate(
                input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=new_tokens,
                eos_token_id=sorted(stops), pad_token_id=0,
            )  # fmt: skip
        for row in output[:, width:].tolist():
            end = next((place for place, token in enumerate(row) if token in stops), None)
            answers.append(Completion(tuple(row[:end]), end is not None))
    return answers


if __name__ == "__main__":
    main()
