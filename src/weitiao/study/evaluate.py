"""`weitiao eval`: the scores of a run, or of the untuned model of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from weitiao.data.load import load_data
from weitiao.errors import RecipeError
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.evaluate import evaluate
from weitiao.evaluation.progress import answer_progress
from weitiao.evaluation.scores import Scores, write_scores
from weitiao.hardware import detect_hardware
from weitiao.methods.open import OpenModel, find_adapter, open_model
from weitiao.models.attention import FOREST
from weitiao.models.load import load_model
from weitiao.recipe import Recipe, load_recipe
from weitiao.rendering.render import render
from weitiao.study.dataset import Tell, model_context, prepare_tokenizer
from weitiao.study.setup import set_threads
from weitiao.study.train import token_budget
from weitiao.training.progress import PlainLines
from weitiao.training.validation import ValidationLoss, validation_loss

if TYPE_CHECKING:
    from weitiao.data.example import Example


@dataclass(frozen=True, slots=True)
class Scored:
    """What an evaluation found, and where it lies.

    Attributes:
        name: The run, or the base model.
        tuned: Whether the run's adapter was on the model.
        scores: Also in `scores_path`.
        predictions: Also in `predictions_path`.
        scores_path: `scores.json`, or `scores-base.json` without adapter.
        predictions_path: `predictions.jsonl`, or `predictions-base.jsonl` without adapter.
    """

    name: str
    tuned: bool
    scores: Scores
    predictions: tuple[Prediction, ...]
    scores_path: Path
    predictions_path: Path

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values: the scores, and beside them name, tuned and the two paths."""
        return {
            "name": self.name,
            "tuned": self.tuned,
            **self.scores.to_dict(),
            "scores_path": str(self.scores_path),
            "predictions_path": str(self.predictions_path),
        }


def evaluate_target(
    target: Path,
    overrides: Sequence[str] = (),
    *,
    base: bool = False,
    output: Path | None = None,
    console: Console | None = None,
) -> Scored:
    """Score what a person names.

    Args:
        target: A run directory, or a recipe file for the untuned model.
        overrides: `section.key=value`, as on the command line.
        base: Score the base model of a run instead of the tuned one.
        output: Where the files go; the run directory by default.
        console: Where progress goes; stderr by default.

    Raises:
        WeitiaoError: Something the user can put right; the message says what.
    """
    recipe = load_recipe(target, overrides)
    return evaluate_recipe(recipe, tuned=target.is_dir() and not base, output=output, console=console)


def evaluate_recipe(
    recipe: Recipe, *, tuned: bool, output: Path | None = None, console: Console | None = None
) -> Scored:
    """Score the model of a recipe on its validation rows (loss) and test rows (answers).

    Args:
        recipe: With `run_dir` set.
        tuned: Whether to put the adapter of `run_dir` on the model.
        output: Where the files go; `run_dir` by default.
        console: Where progress goes; stderr by default.

    Raises:
        RecipeError: The recipe has neither test nor validation rows.
        WeitiaoError: Something else that the user can put right.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    console = console or Console(stderr=True)
    if recipe.data.test is None and recipe.data.validation is None:
        raise RecipeError(
            "The recipe holds out no rows: neither `data.test` nor `data.validation` is there.",
            "Add data.test=FILE, or a fraction, data.test=0.1. A run that was trained on all rows needs a file.",
        )
    if tuned:
        find_adapter(recipe.run_dir)  # says what is wrong before data and model are loaded
    tell: Tell = PlainLines(console).message
    data = load_data(recipe.data)
    for line in (*data.summaries, *data.overlaps):
        tell(str(line))
    set_threads(recipe, detect_hardware())
    opened = _open(recipe, tuned=tuned)
    loss = _validation_loss(recipe, opened, data.validation, tell) if data.validation else None
    with answer_progress(console) as on_progress:
        evaluation = evaluate(opened.model, opened.tokenizer, data.test, recipe.evaluate, on_progress=on_progress)
    scores = replace(evaluation.scores, validation_loss=loss)
    paths = write_scores(output or recipe.run_dir, scores, evaluation.predictions, suffix="" if tuned else "-base")
    return Scored(opened.name, tuned, scores, evaluation.predictions, *paths)


def _open(recipe: Recipe, *, tuned: bool) -> OpenModel:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if tuned:
        assert recipe.run_dir is not None
        return open_model(recipe.run_dir, base=recipe.model, device=device)
    model = load_model(recipe.model, attention=FOREST, device=device)
    return OpenModel(model, prepare_tokenizer(recipe), recipe.model.name, None)


def _validation_loss(recipe: Recipe, opened: OpenModel, examples: Sequence[Example], tell: Tell) -> ValidationLoss:
    rendered = render(examples, opened.tokenizer, recipe.rendering, max_context=model_context(recipe))
    for line in rendered.report:
        tell(f"validation: {line}")
    return validation_loss(
        opened.model,
        rendered.sequences,
        token_budget=token_budget(recipe, rendered.sequences, opened.model.device),
        share_prefixes=recipe.train.share_prefixes,
    )
