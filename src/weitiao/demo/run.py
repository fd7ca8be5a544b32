"""`weitiao demo`: the whole work on one task, from the data check to the verdict, as `weitiao run` does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from weitiao.baseline.result import Baseline, Cell, read_baseline
from weitiao.data.load import load_data
from weitiao.demo.tickets import generate, write
from weitiao.evaluation.answer_files import read_predictions
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.scores import read_scores
from weitiao.evaluation.statistics import Estimate
from weitiao.recipe import Recipe, recipe_from_dict
from weitiao.study.pipeline.result import PipelineResult
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.task import task_from_recipe
from weitiao.text.wording import Language

NUM_VALIDATION, NUM_TEST = 16, 150
METRIC = "exact_match"
ANSWER_TOKENS = 44
"""A right answer has at most 42 of SmolLM2's tokens, and one that ends it."""

INTRODUCTION = (
    "A small model learns to turn customer messages into one line of JSON with five typed fields; the conventions "
    "stand in no prompt, only in {num_train} solved messages. It is asked before and after on {num_test} messages in a "
    "wording it has not seen, and about what it knew before: what tuning brings over prompting, and what it costs."
)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did and measured.

    Attributes:
        work: What the steps of `weitiao run` did, with verdict and report.
        baseline: The untuned model with every prompt that was tried, zero-shot first.
        after: Exact match of the tuned model on the same test rows.
        predictions: Its answers.
    """

    work: PipelineResult
    baseline: Baseline
    after: Estimate
    predictions: tuple[Prediction, ...]

    @property
    def before(self) -> Cell:
        """The untuned model, asked without solved examples."""
        return self.baseline.cells[0]

    def answers_before(self) -> tuple[Prediction, ...]:
        """Answers of the untuned model with its best prompt."""
        return read_predictions(self.work.path / self.baseline.best.predictions)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values: `before`, `best_prompt`, `after`, and what `weitiao run --json` prints."""
        best = self.baseline.best
        return {
            "before": _score(self.before.metrics[METRIC]),
            "best_prompt": {"prompt": best.prompt, **_score(best.metrics[METRIC])},
            "after": _score(self.after),
            "run": str(self.work.path),
            **self.work.to_dict(),
        }


def demo_recipe(output: Path, *, model: str, seed: int, num_train: int) -> Recipe:
    """The recipe of the demo, its data written below `output`."""
    files = write(generate(num_train, NUM_VALIDATION, NUM_TEST, seed=seed), output / "data")
    return recipe_from_dict(
        {
            "model": model,
            "data": {part: str(path) for part, path in files.items()},
            "method": {"type": "lora", "r": 16},
            "train": {"epochs": 1, "batch_size": 8, "learning_rate": 2e-3, "validate_every": 20, "seed": seed},
            "evaluate": {"generation": {"max_new_tokens": ANSWER_TOKENS, "batch_size": NUM_TEST}},
            "baseline": {"shots": [0, 8], "seed": seed},
            "retention": {"suite": "small", "parts": ["knowledge-en", "instructions-en", "arithmetic", "text-en"]},
            # The tuned model has one task, and a quarter of the suite is few items: the borders are wide.
            "verdict": {"target": 0.8, "least_gain": 0.2, "largest_loss": 0.15, "largest_loss_nats": 0.4},
            "run": {"on_findings": "continue", "on_advice": "continue"},
            "run_dir": str(output / "run"),
        }
    )


def run_demo(
    output: Path,
    *,
    model: str = "smollm2-135m",
    seed: int = 0,
    num_train: int,
    language: Language = "en",
    console: Console,
) -> DemoResult:
    """Do the whole work; a second call with the same settings finds everything done.

    Args:
        output: Gets the data and the run directory.
        model: The model that learns.
        seed: Seed of the data and the training.
        num_train: Training rows.
        language: Of the report.
        console: Where progress goes.
    """
    console.print(INTRODUCTION.format(num_train=num_train, num_test=NUM_TEST))
    recipe = demo_recipe(output, model=model, seed=seed, num_train=num_train)
    if not (output / "run").exists():
        show_first(recipe, console)
    work = run_pipeline(recipe, console=console, language=language)
    after = read_scores(work.path / "scores.json").metrics[METRIC]
    return DemoResult(work, read_baseline(work.path), after, read_predictions(work.path / "predictions.jsonl"))


def show_first(recipe: Recipe, console: Console) -> None:
    """Print a message, what the untuned model makes of it, and what it shall learn to answer."""
    from weitiao.evaluation.task import evaluate
    from weitiao.study.setup import open_recipe
    from weitiao.terminal.tables import facts

    task = task_from_recipe(recipe, load_data(recipe.data))
    base = open_recipe(recipe, tuned=False)
    found = evaluate(base.model, base.tokenizer, replace(task, examples=task.examples[:1])).predictions[0]
    message = str(found.messages[-1]["content"]).split("\n", 1)[-1]
    console.print(facts((("message", message), ("untuned", found.answer), ("wanted", found.expected))))


def _score(estimate: Estimate) -> dict[str, Any]:
    values = asdict(estimate)
    return {METRIC: values.pop("value"), **values}
