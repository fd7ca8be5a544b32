"""Cells that are answered, or taken over from an earlier call that answered the same prompts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from weitiao.baseline.result import Cell, read_cells, write_cells
from weitiao.evaluation.answer_files import find_answers, keep_answers, read_predictions
from weitiao.evaluation.answers import Prediction, graded
from weitiao.evaluation.scores import score
from weitiao.evaluation.task import evaluate
from weitiao.generation.generate import generate, stop_ids
from weitiao.methods.answering import answering
from weitiao.methods.open import OpenModel
from weitiao.rendering.render import Prompts
from weitiao.study.baseline.plan import PlannedCell
from weitiao.study.dataset import Tell
from weitiao.study.setup import open_recipe
from weitiao.terminal.progress import answer_progress

_NUM_TIMED, _MOST_SECONDS_TIMED = 3, 2.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A cell and its answers."""

    cell: Cell
    predictions: tuple[Prediction, ...]


def answer_cells(
    planned: Sequence[PlannedCell],
    directory: Path,
    *,
    known_in: Path | None = None,
    tell: Tell,
    console: Console,
) -> list[Answered]:
    """Answer what was not answered before; `baseline.json` holds what is done after every cell.

    Args:
        planned: The cells, model by model.
        directory: Where the answers go.
        known_in: Another directory that may have answers already; they are copied.
        tell: Gets a line per cell.
        console: Where progress goes.

    Returns:
        The cells in the same order.

    Raises:
        WeitiaoError: Something the user can put right.
    """
    places = tuple(dict.fromkeys((directory, known_in or directory)))
    earlier = {place / cell.predictions: cell for place in places for cell in read_cells(place)}
    done: list[Answered] = []
    loaded: OpenModel | None = None
    for plan in planned:
        if (known := _taken_over(plan, directory, earlier)) is not None:
            tell(f"{plan.model}, {plan.prompt}: answered before, taken over")
            done.append(known)
            continue
        if loaded is None or loaded.name != plan.model:
            loaded = None  # two models need not fit into the memory
            loaded = open_recipe(plan.recipe, tuned=False)
        share = f", examples take {plan.cost.context_share:.0%} of the context" if plan.shots else ""
        tell(
            f"{plan.model}, {plan.prompt}: {len(plan.task.examples):,} rows, "
            f"{plan.cost.prompt_tokens:,.0f} tokens per prompt{share}"
        )
        done.append(_answer(plan, loaded, directory, console))
        left = {path.name: cell for path, cell in earlier.items() if path.parent == directory}
        write_cells(directory, tuple((left | {one.cell.predictions: one.cell for one in done}).values()))
    return done


def _taken_over(plan: PlannedCell, directory: Path, earlier: Mapping[Path, Cell]) -> Answered | None:
    """A cell whose answers are known with the time that they took; they are graded again."""
    found = find_answers(earlier, plan.key, plan.task.examples)
    if found is None:
        return None
    path, answers = found
    predictions = graded(answers, plan.task.metrics)
    if path != directory / plan.predictions or read_predictions(path) != predictions:
        keep_answers(directory / plan.predictions, predictions, plan.key)
    times = earlier[path]
    return _cell(plan, predictions, times.num_parameters, times.seconds_per_answer, times.latency_seconds)


def _answer(plan: PlannedCell, loaded: OpenModel, directory: Path, console: Console) -> Answered:
    with answer_progress(console, batch_size=plan.task.generation.batch_size) as on_progress:
        evaluation = evaluate(loaded.model, loaded.tokenizer, plan.task, on_progress=on_progress)
    predictions = evaluation.predictions
    keep_answers(directory / plan.predictions, predictions, plan.key)
    each = evaluation.scores.seconds / len(predictions)
    return _cell(plan, predictions, loaded.model.num_parameters(), each, _latency(plan, loaded))


def _cell(
    plan: PlannedCell, predictions: tuple[Prediction, ...], num_parameters: int, each: float, alone: float
) -> Answered:
    scores = score(predictions, plan.task.metrics, seconds=each * len(predictions))
    cell = Cell(
        model=plan.model,
        num_parameters=num_parameters,
        prompt=plan.prompt,
        shots=plan.shots,
        metrics=scores.metrics,
        cost=plan.cost,
        answer_tokens=statistics.fmean(one.num_tokens for one in predictions),
        seconds_per_answer=each,
        latency_seconds=alone,
        num_cut_off=scores.num_unstopped,
        shot_rows=plan.shot_rows,
        predictions=plan.predictions,
    )
    return Answered(cell, predictions)


def _latency(plan: PlannedCell, loaded: OpenModel) -> float:
    """Seconds of an answer on its own: median of the first rows, of one where answers are slow."""
    stops = stop_ids(loaded.model, loaded.tokenizer)
    prompt_of = Prompts(loaded.tokenizer)
    seconds: list[float] = []
    with answering(loaded.model):
        for row in plan.task.examples[:_NUM_TIMED]:
            if sum(seconds) > _MOST_SECONDS_TIMED:
                break
            prompt = prompt_of(row.prompt, row.tools)
            begun = time.perf_counter()
            generate(loaded.model, [prompt], plan.recipe.evaluate.generation, stop_ids=stops)
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)
