"""`weitiao demo`: the whole way from data to a tuned model on one task, measured before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from weitiao.demo.tickets import generate, write
from weitiao.errors import RunError
from weitiao.recipe import Recipe, recipe_from_dict
from weitiao.study.evaluate import Scored, evaluate_recipe
from weitiao.study.train import Run, train
from weitiao.training.run_dir import RunDir

NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 720, 32, 150


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo measured.

    Attributes:
        before, after: The same test rows, answered by the untuned and the tuned model.
        run: The training between them.
    """

    before: Scored
    after: Scored
    run: Run

    def to_dict(self) -> dict[str, object]:
        """The result as plain JSON values."""
        parts = {}
        for name, scored in (("before", self.before), ("after", self.after)):
            match = scored.scores.exact_match
            assert match is not None, "the test part has rows"
            parts[name] = {
                "exact_match": match.value,
                "low": match.low,
                "high": match.high,
                "n": match.n,
                "seconds": scored.scores.seconds,
            }
        return {**parts, "run": str(self.run.path), "train_seconds": self.run.seconds, "steps": self.run.steps}


def demo_recipe(output: Path, *, model: str, seed: int, num_train: int) -> Recipe:
    """The recipe of the demo, its data written below `output`."""
    files = write(generate(num_train, NUM_VALIDATION, NUM_TEST, seed=seed), output / "data")
    return recipe_from_dict(
        {
            "model": model,
            "data": {"train": str(files.train), "validation": str(files.validation), "test": str(files.test)},
            "method": {"type": "lora", "r": 16},
            "train": {"epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "validate_every": 10, "seed": seed},
            "evaluate": {"generation": {"max_new_tokens": 80, "batch_size": 75}},
            "run_dir": str(output / "run"),
        }
    )


def run_demo(
    output: Path, *, model: str = "smollm2-135m", seed: int = 0, num_train: int = NUM_TRAIN, console: Console
) -> DemoResult:
    """Measure, train, and measure again.

    Args:
        output: Gets the data and the run directory; must not hold an earlier demo.
        model: The model that learns.
        seed: Seed of the data and the training.
        num_train: Training rows.
        console: Where progress goes.
    """
    if RunDir(output / "run").is_finished:
        raise RunError(f"{output} holds a finished demo.", "Choose another --output, or remove it.")
    recipe = demo_recipe(output, model=model, seed=seed, num_train=num_train)
    console.rule("Before: the untuned model on messages it has not seen", align="left")
    before = evaluate_recipe(recipe, tuned=False, console=console)
    _tell_score(before, console)
    console.rule(f"Training on {num_train} other messages", align="left")
    run = train(recipe, console=console)
    if not run.finished:
        raise KeyboardInterrupt
    console.rule("After: the tuned model on the same messages", align="left")
    after = evaluate_recipe(recipe, tuned=True, console=console)
    _tell_score(after, console)
    return DemoResult(before, after, run)


def _tell_score(scored: Scored, console: Console) -> None:
    match = scored.scores.exact_match
    assert match is not None, "the test part has rows"
    console.print(
        f"exact match {match.value:.1%} of {match.n} (95 % interval {match.low:.1%} to {match.high:.1%})",
        style="bold",
        highlight=False,
    )
