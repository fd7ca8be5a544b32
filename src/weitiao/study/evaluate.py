"""`weitiao eval`: the scores of a run, or of the untuned model of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from weitiao.errors import RecipeError
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.benchmarks import Benchmarks, run_benchmarks
from weitiao.evaluation.likelihood import Likelihood, likelihoods
from weitiao.evaluation.metrics.perplexity import by_length, perplexity
from weitiao.evaluation.scores import Scores, ValidationLoss, without_answers, write_scores
from weitiao.evaluation.statistics import Estimate
from weitiao.evaluation.task import Evaluation, evaluate
from weitiao.files import write_lines
from weitiao.machine.hardware import detect_hardware
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import OpenModel, find_final
from weitiao.models.load import OWN
from weitiao.recipe import Recipe
from weitiao.rendering.items import as_items
from weitiao.rendering.lengths import TextLengths
from weitiao.runs.run_dir import RunDir, locked_around
from weitiao.study.dataset import Tell, load_told, render_part
from weitiao.study.place import place_of_results
from weitiao.study.prepared import token_budget
from weitiao.study.rewards import (
    ACCURACY,
    MARKED,
    implicit_rewards,
    marked_accuracy,
    reward_scores,
    rewards_of_answers,
    with_comparisons,
    with_metric,
)
from weitiao.study.setup import open_recipe, set_threads
from weitiao.study.task import askable, key_of_answers, task_from_recipe
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import answer_progress, teller

if TYPE_CHECKING:
    from weitiao.data.example import Example
    from weitiao.data.load import DataSet


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


def evaluate_recipe(
    recipe: Recipe,
    *,
    tuned: bool,
    output: Path | None = None,
    console: Console | None = None,
    tell: Tell | None = None,
) -> Scored:
    """Score the model of a recipe on its validation rows (loss), its test rows (answers) and benchmarks.

    Args:
        recipe: With `run_dir` set.
        tuned: Whether to put the adapter of `run_dir` on the model.
        output: Where the files go; by default `run_dir`, or a folder in it when the settings are not those of the run.
        console: Where progress goes; stderr by default.
        tell: Gets every line that a person should see; printed on the console by default.

    Raises:
        RecipeError: The recipe has neither test nor validation rows, nor benchmarks.
        RunError: Another process has the run directory that is written into.
        WeitiaoError: Something else that the user can put right.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    if recipe.data.test is None and recipe.data.validation is None and not recipe.evaluate.benchmarks:
        raise RecipeError(
            "The recipe holds out no rows: neither `data.test` nor `data.validation` is there.",
            "Add data.test=FILE, or a fraction, data.test=0.1. A run that was trained on all rows needs a file.",
        )
    if tuned:
        find_final(recipe.run_dir)  # says what is wrong before data and model are loaded
    console = console or TextConsole(stderr=True)
    tell = tell or teller(console)
    output = output or place_of_results(recipe, "eval", ("model", "data", "rendering", "objective", "evaluate"), tell)
    remedy = "Wait for it, or write the scores elsewhere with --output DIRECTORY."
    with locked_around(output, remedy, run=RunDir(recipe.run_dir)):
        return _evaluate(recipe, tuned=tuned, output=output, console=console, tell=tell)


def _evaluate(recipe: Recipe, *, tuned: bool, output: Path, console: Console, tell: Tell) -> Scored:
    data = load_told(recipe, tell)
    set_threads(recipe, detect_hardware())
    if recipe.objective.gives_scores:
        return _evaluate_rewards(recipe, data, tuned=tuned, output=output, tell=tell)
    task = task_from_recipe(recipe, data) if recipe.evaluate.graders else None
    benchmarks = _benchmarks(recipe, tuned=tuned)  # first: what is wrong with them shows soon
    opened = open_recipe(recipe, tuned=tuned)
    record = recipe.objective.rows().record
    held_out = [] if record in ("pair", "mark") else _losses(recipe, opened, data.validation, "validation", tell)
    lengths = by_length(held_out) if held_out else None
    test = _test_perplexities(recipe, opened, data.test, tell)
    if task is not None:
        task = askable(task, recipe, [opened.tokenizer], tell)
        with answer_progress(console, batch_size=task.generation.batch_size) as on_progress:
            evaluation = evaluate(opened.model, opened.tokenizer, task, on_progress=on_progress)
    else:
        evaluation = Evaluation(without_answers(recipe.evaluate.metrics[0].title), ())
    scores = replace(
        evaluation.scores,
        metrics=evaluation.scores.metrics | test,
        validation_loss=_mean(held_out) if held_out else None,
        validation_perplexity=perplexity(held_out) if held_out else None,
        validation_nats_per_character=lengths and lengths[0],
        validation_bits_per_byte=lengths and lengths[1],
        benchmarks=benchmarks.scores,
    )
    if record == "pair" and tuned and (found := implicit_rewards(recipe, opened, data, tell)) is not None:
        scores = with_comparisons(scores, found)
    if record == "mark" and tuned and (marked := marked_accuracy(recipe, opened, data, tell)) is not None:
        scores = with_metric(scores, MARKED, marked)
    if recipe.objective.writes:
        for name, value in rewards_of_answers(recipe, opened, data, tell).items():
            numbers = {**scores.details, name: {"is_share": False}}
            scores = replace(with_metric(scores, name, value), details=numbers)
    if not (scores.metrics or scores.validation_loss or scores.benchmarks):
        tell("Nothing was scored: no held-out row has an answer to compare with.")
    suffix = "" if tuned else "-base"
    weights = weights_hash(recipe.model, opened.final)
    key = None if task is None else key_of_answers(task, opened.tokenizer, recipe.model, weights)
    of = {"weights": weights} | ({} if key is None else {"task": key.name})
    paths = write_scores(output, scores, evaluation.predictions, suffix=suffix, of=of, key=key)
    if benchmarks.samples:
        write_lines(paths[0].with_name(f"benchmarks{suffix}.jsonl"), benchmarks.samples)
    return Scored(opened.name, tuned, scores, evaluation.predictions, *paths)


def _evaluate_rewards(recipe: Recipe, data: DataSet, *, tuned: bool, output: Path, tell: Tell) -> Scored:
    if not tuned:
        raise RecipeError("A base model has no rewards to be scored by.", "Train it, then: weitiao eval RUN.")
    scores = reward_scores(recipe, data, without_answers(ACCURACY), tell)
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    of = {"weights": weights_hash(recipe.model, find_final(recipe.run_dir))}
    return Scored(str(recipe.run_dir), tuned, scores, (), *write_scores(output, scores, (), of=of))


def _benchmarks(recipe: Recipe, *, tuned: bool) -> Benchmarks:
    """The benchmarks of a recipe, by a model of its own: lm-evaluation-harness does not know forest attention."""
    config = recipe.evaluate
    if not config.benchmarks:
        return Benchmarks({}, ())
    opened = open_recipe(recipe, tuned=tuned, attention=OWN)
    return run_benchmarks(
        opened.model,
        opened.tokenizer,
        config.benchmarks,
        path=config.benchmark_path,
        limit=config.benchmark_limit,
        batch_size=config.generation.batch_size,
    )


def _test_perplexities(
    recipe: Recipe, opened: OpenModel, examples: Sequence[Example], tell: Tell
) -> dict[str, Estimate]:
    """The perplexity of the test rows under each name that it is asked for by."""
    asked = recipe.evaluate.perplexities
    losses = _losses(recipe, opened, examples[: recipe.evaluate.limit], "test", tell) if asked else []
    return {one.title: perplexity(losses) for one in asked if losses}


def _losses(recipe: Recipe, opened: OpenModel, examples: Sequence[Example], part: str, tell: Tell) -> list[Likelihood]:
    """How likely the model holds what training would learn of each row."""
    if not examples or recipe.objective.writes:  # of which no answer is learned
        return []
    sequences = render_part(recipe, examples, opened.tokenizer, part, tell).sequences
    found = likelihoods(
        opened.model,
        sequences,
        token_budget=token_budget(recipe, as_items(sequences), opened.model.device),
        share_prefixes=recipe.train.share_prefixes,
    )
    if any(example.messages for example in examples):
        return found
    lengths = TextLengths(opened.tokenizer)
    return [replace(one, text=lengths.of([sequence])) for one, sequence in zip(found, sequences, strict=True)]


def _mean(sequences: Sequence[Likelihood]) -> ValidationLoss:
    num_tokens = sum(one.num_tokens for one in sequences)
    return ValidationLoss(-sum(one.log_likelihood for one in sequences) / num_tokens, num_tokens, len(sequences))
