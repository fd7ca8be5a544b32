"""`weitiao baseline`: how far prompting goes, and whether to tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from weitiao.baseline.advice import Contender, advise
from weitiao.baseline.result import BASELINE_FILE, GAP_FILE, Baseline, Candidate, write_baseline
from weitiao.data.example import Example
from weitiao.data.parts.asked import asked_by
from weitiao.data.parts.splits import seeded_order
from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.answers import is_gradable
from weitiao.evaluation.gap.analyse import Gap, analyse_gap
from weitiao.evaluation.metrics.base import Metric
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import Estimate, simultaneous
from weitiao.evaluation.task import Task
from weitiao.files import full_disk_is_named, write_json
from weitiao.machine.hardware import detect_hardware
from weitiao.recipe import Recipe
from weitiao.runs.run_dir import RunDir, locked_around
from weitiao.study.baseline.answer import Answered, answer_cells
from weitiao.study.baseline.plan import plan_cells
from weitiao.study.dataset import Tell, load_told, prepare_tokenizer
from weitiao.study.place import place_of_results
from weitiao.study.setup import set_threads
from weitiao.study.task import askable, task_from_recipe
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import teller

_SECTIONS = ("model", "data", "rendering", "evaluate", "baseline", "verdict.target")
"""What a baseline depends on."""


@dataclass(frozen=True, slots=True)
class BaselineRun:
    """What a baseline found, and where it lies.

    Attributes:
        baseline: Also in `baseline.json`.
        gap: Of the best model with its best prompt; also in `gap.json`.
        directory: The run directory.
    """

    baseline: Baseline
    gap: Gap
    directory: Path

    @property
    def baseline_path(self) -> Path:
        """Where the baseline lies."""
        return self.directory / BASELINE_FILE

    @property
    def gap_path(self) -> Path:
        """Where the gap lies."""
        return self.directory / GAP_FILE


def run_baseline(
    recipe: Recipe, *, console: Console | None = None, output: Path | None = None, tell: Tell | None = None
) -> BaselineRun:
    """Try prompts on the test rows with every candidate model, and say whether to tune.

    Cells that an earlier call has answered are taken over when the prompts to the token, the weights and the settings
    are the same; a call that was interrupted loses the cell that it was at.

    Args:
        recipe: With `run_dir` set. All sections but `method`, `objective` and `train` decide about the result.
        console: Where progress goes; stderr by default.
        output: Where the files go; by default `run_dir`, or a folder in it when the settings are not those of the run.
        tell: Gets every line that a person should see; printed on the console by default.

    Raises:
        RecipeError: There are no test rows.
        RunError: Another process has the run directory.
        WeitiaoError: Something else that the user can put right.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    console = console or TextConsole(stderr=True)
    tell = tell or teller(console)
    if recipe.data.test is None:
        raise RecipeError(
            "The recipe has no test rows, which a baseline is measured on.",
            "Add data.test=FILE, or a fraction, data.test=0.1.",
        )
    directory = output or place_of_results(recipe, "baseline", _SECTIONS, tell)
    remedy = "Wait for it, or choose another run_dir."
    with locked_around(directory, remedy, run=RunDir(recipe.run_dir)):
        directory.mkdir(parents=True, exist_ok=True)
        return _run(recipe, directory, tell, console)


def _run(recipe: Recipe, directory: Path, tell: Tell, console: Console) -> BaselineRun:
    data = load_told(recipe, tell)
    task = _askable(recipe, task_from_recipe(recipe, data), tell)
    task = replace(task, examples=_asked(recipe, task, tell))
    train = data.task_train
    if any(recipe.baseline.shots):  # a refused row must not stand before a good one
        train = _askable(recipe, replace(task, name="train", examples=train), tell).examples
    planned = plan_cells(recipe, train, task, tell)
    set_threads(recipe, detect_hardware())
    with full_disk_is_named(str(directory), "Free some space, or choose another run_dir; what is done is kept."):
        answered = answer_cells(planned, directory, known_in=recipe.run_dir, tell=tell, console=console)
        answers = [row.answer for row in data.task_train if is_gradable(row)]
        baseline, gap = conclude(
            answered, metric=task.metrics[0], target=recipe.verdict.target, training_answers=answers
        )
        write_json(directory / GAP_FILE, gap)
        write_baseline(directory, baseline)
    return BaselineRun(baseline, gap, directory)


def _askable(recipe: Recipe, task: Task, tell: Tell) -> Task:
    """The rows that no candidate's chat template refuses, nor that of the model to be tuned, which is asked later."""
    others = [one for one in recipe.baseline.models or () if one != recipe.model]
    tokenizers = (prepare_tokenizer(recipe.model_copy(update={"model": one})) for one in (recipe.model, *others))
    return askable(task, recipe, tokenizers, tell)


def _asked(recipe: Recipe, task: Task, tell: Tell) -> tuple[Example, ...]:
    """The rows that are asked: those with an answer, as many as `baseline.limit` says."""
    rows, limit = task.gradable, recipe.baseline.limit
    if not rows:
        raise DataError(
            f"None of the {len(task.examples):,} test rows has a question and an answer to compare with.",
            "Give test rows that have both.",
        )
    if len(rows) < len(task.examples):
        tell(f"{len(task.examples) - len(rows):,} test rows without an answer to compare with are left out")
    if limit is None or limit >= len(rows):
        return rows
    tell(f"{limit:,} of {len(rows):,} test rows are asked (baseline.limit)")
    order = seeded_order([asked_by(row).draw for row in rows], seed=recipe.baseline.seed, purpose="baseline")
    return tuple(rows[place] for place in sorted(order[:limit]))


def conclude(
    answered: Sequence[Answered], *, metric: Metric, target: float | None, training_answers: Sequence[str]
) -> tuple[Baseline, Gap]:
    """From the answers of all cells to the best prompts, the advice and the gap.

    Args:
        answered: At least one cell; all of them have the same rows in the same order.
        metric: What decides.
        target: The least score; None when nobody named one.
        training_answers: Answers of the training rows.
    """
    primary = metric.title
    confidence = simultaneous(len(answered))
    by_model: dict[str, list[Answered]] = {}
    for one in answered:
        by_model.setdefault(one.cell.model, []).append(one)
    candidates, contenders, gaps = [], [], []
    for model, cells in by_model.items():
        best = max(cells, key=lambda one: (one.cell.metrics[primary].value, -one.cell.cost.prompt_tokens))
        gap = analyse_gap(
            best.predictions,
            primary=primary,
            score=best.cell.metrics[primary],
            target=target,
            training_answers=training_answers,
            model=model,
            prompt=best.cell.prompt,
        )
        candidates.append(_candidate(cells, best, primary))
        contenders.append(
            Contender(
                model=model,
                prompt=best.cell.prompt,
                score=best.cell.metrics[primary],
                grades=_grades(best, primary),
                num_parameters=best.cell.num_parameters,
                corrected=_estimate(metric, best, confidence),
                num_tried=len(answered),
                num_rewritten=sum(error.count for error in gap.errors if error.kind == "rewritten"),
            )
        )
        gaps.append(gap)
    top = max(range(len(contenders)), key=lambda i: (contenders[i].score.value, -contenders[i].num_parameters))
    baseline = Baseline(
        primary=primary,
        target=target,
        num_rows=len(answered[0].predictions),
        cells=tuple(one.cell for one in answered),
        candidates=tuple(candidates),
        best_model=contenders[top].model,
        best_prompt=contenders[top].prompt,
        advice=advise(contenders, target, nearest_tried=any("nearest" in one.cell.prompt for one in answered)),
    )
    return baseline, gaps[top]


def _candidate(cells: Sequence[Answered], best: Answered, primary: str) -> Candidate:
    zero = next((one for one in cells if one.cell.shots == 0), None)
    compared = zero is not None and zero is not best
    gain = paired_difference(_grades(zero, primary), _grades(best, primary)) if zero and compared else None
    return Candidate(best.cell.model, best.cell.num_parameters, best.cell.prompt, gain)


def _estimate(metric: Metric, answered: Answered, confidence: float) -> Estimate:
    items = [one.item for one in answered.predictions]
    return metric.estimate(items, _grades(answered, metric.title), confidence=confidence)


def _grades(answered: Answered, metric: str) -> tuple[float, ...]:
    return tuple(one.grades[metric] for one in answered.predictions)
