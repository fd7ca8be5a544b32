"""`weitiao demo`: the whole work on one task, from the data check to the verdict, as `weitiao run` does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from weitiao.demo.tickets import generate, write
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.scores import read_predictions, read_scores
from weitiao.evaluation.statistics import Estimate
from weitiao.recipe import Recipe, recipe_from_dict
from weitiao.study.baseline.result import Baseline, Cell, read_baseline
from weitiao.study.pipeline.result import PipelineResult
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.report.wording import Language

NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 640, 16, 150
METRIC = "exact_match"


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
            "data": {"train": str(files.train), "validation": str(files.validation), "test": str(files.test)},
            "method": {"type": "lora", "r": 16},
            "train": {"epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "validate_every": 15, "seed": seed},
            "evaluate": {"generation": {"max_new_tokens": 56, "batch_size": 75}},
            "baseline": {"shots": [0, 8], "seed": seed},
            "retention": {"suite": "small"},
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
    num_train: int = NUM_TRAIN,
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
    recipe = demo_recipe(output, model=model, seed=seed, num_train=num_train)
    work = run_pipeline(recipe, console=console, language=language)
    after = read_scores(work.path / "scores.json").metrics[METRIC]
    return DemoResult(work, read_baseline(work.path), after, read_predictions(work.path / "predictions.jsonl"))


def _score(estimate: Estimate) -> dict[str, Any]:
    values = asdict(estimate)
    return {METRIC: values.pop("value"), **values}
