"""Cells that are answered, or taken over from an earlier call that answered the same prompts."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from weitiao.baseline.result import Cell, read_cells, write_cells
from weitiao.evaluation.answer_files import read_predictions, write_predictions
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.task import evaluate
from weitiao.files import sha256
from weitiao.generation.generate import generate, stop_ids
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
    known = {
        cell.inputs: (cell, place)
        for place in (known_in or directory, directory)
        for cell in read_cells(place)
        if _is_whole(place, cell)
    }
    done: list[Answered] = []
    loaded: OpenModel | None = None
    for number, plan in enumerate(planned):
        if plan.inputs in known:
            cell, place = known[plan.inputs]
            if place != directory:
                shutil.copyfile(place / cell.predictions, directory / cell.predictions)
            tell(f"{plan.model}, {plan.prompt}: answered before, taken over")
            done.append(Answered(cell, read_predictions(directory / cell.predictions)))
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
        later = [known[one.inputs] for one in planned[number + 1 :] if one.inputs in known]
        write_cells(directory, [*(one.cell for one in done), *(cell for cell, place in later if place == directory)])
    return done


def _is_whole(directory: Path, cell: Cell) -> bool:
    path = directory / cell.predictions
    return path.is_file() and sha256(path) == cell.sha256


def _answer(plan: PlannedCell, loaded: OpenModel, directory: Path, console: Console) -> Answered:
    with answer_progress(console, batch_size=plan.task.generation.batch_size) as on_progress:
        evaluation = evaluate(loaded.model, loaded.tokenizer, plan.task, on_progress=on_progress)
    predictions, scores = evaluation.predictions, evaluation.scores
    path = directory / plan.predictions
    write_predictions(path, predictions)
    cell = Cell(
        model=plan.model,
        num_parameters=loaded.model.num_parameters(),
        prompt=plan.prompt,
        shots=plan.shots,
        metrics=scores.metrics,
        cost=plan.cost,
        answer_tokens=statistics.fmean(one.num_tokens for one in predictions),
        seconds_per_answer=scores.seconds / len(predictions),
        latency_seconds=_latency(plan, loaded),
        num_cut_off=scores.num_unstopped,
        shot_rows=plan.shot_rows,
        predictions=path.name,
        inputs=plan.inputs,
        sha256=sha256(path),
    )
    return Answered(cell, predictions)


def _latency(plan: PlannedCell, loaded: OpenModel) -> float:
    """Seconds of an answer on its own: median of the first rows, of one where answers are slow."""
    stops = stop_ids(loaded.model, loaded.tokenizer)
    prompt_of = Prompts(loaded.tokenizer)
    seconds: list[float] = []
    for row in plan.task.examples[:_NUM_TIMED]:
        if sum(seconds) > _MOST_SECONDS_TIMED:
            break
        prompt = prompt_of(row.prompt, row.tools)
        begun = time.perf_counter()
        generate(loaded.model, [prompt], plan.recipe.evaluate.generation, stop_ids=stops)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)
