"""`weitiao methods`: a small tournament of methods and learning rates on the person's own data.

Successive halving (https://arxiv.org/abs/1502.07943): all cells learn from a few rows, the better ones from more. Each
rung trains from the start, so that its schedule is whole. The scores are of validation rows: the test rows stay unseen.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from safetensors import safe_open

from weitiao.errors import ModelError, RecipeError, TrainingError, WeitiaoError
from weitiao.evaluation.task import Task
from weitiao.files import write_json
from weitiao.recipe import Recipe
from weitiao.recipe.sections import EntryConfig
from weitiao.retention.comparison import compare_retention
from weitiao.retention.scores import RetentionScores
from weitiao.runs.record import read_records
from weitiao.runs.run_dir import RunDir
from weitiao.study.compare.answers import written_answers
from weitiao.study.compare.sides import find_side
from weitiao.study.dataset import load_told
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.pipeline.steps import STEPS
from weitiao.study.retention import score_retention
from weitiao.study.task import task_from_recipe
from weitiao.terminal.progress import teller
from weitiao.training.checkpoint import WEIGHTS
from weitiao.training.metrics import read_metrics
from weitiao.verdict.tournament import Cell, Tournament, advise

FOLDER, RESULT = "methods", "tournament.json"


def run_tournament(recipe: Recipe, *, console: Console) -> Tournament:
    """Train and score every cell that the section `tournament` names; go on where an earlier call stopped.

    Args:
        recipe: With `run_dir` set, validation rows (which decide) and test rows (which are left for the proof).
        console: Where progress goes.

    Raises:
        RecipeError: There are no validation or test rows.
        WeitiaoError: No cell could be trained; the error is that of the first.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    if recipe.data.validation is None:
        raise RecipeError(
            "The recipe has no validation rows, by which methods are chosen.",
            "Add data.validation=FILE, or a fraction: data.validation=0.1.",
        )
    home = RunDir(recipe.run_dir / FOLDER)
    with home.locked():
        task = task_from_recipe(
            recipe, load_told(recipe, teller(console)), part="validation", sample=recipe.tournament.sample
        )
        before = None
        if recipe.retention.suite != "none":
            before = score_retention(recipe, tuned=False, console=console, output=home.path)
        cells = _rungs(recipe, home.path, task, before, console)
        chosen, equal, advice = advise([one for one in cells if one.rung == cells[0].rung and one.failed is None])
        found = Tournament(task.metrics[0].title, cells, chosen, equal, advice, home.path / RESULT)
        write_json(found.path, found)
        return found


def entrants(recipe: Recipe) -> list[Cell]:
    """Every method with every learning rate."""
    config, found = recipe.tournament, []
    for entry in config.entries:
        usual = entry.usual_learning_rate or recipe.train.learning_rate
        for rate in entry.learning_rates or [float(f"{usual * factor:.3g}") for factor in config.rates]:
            found.append(Cell(f"{entry.title}-{rate:g}", entry.model_dump(mode="json", exclude_unset=True), rate))
    return found


def _rungs(
    recipe: Recipe, home: Path, task: Task, before: RetentionScores | None, console: Console
) -> tuple[Cell, ...]:
    """All cells as they ended, those of the last rung first, the best ahead."""
    config, tell = recipe.tournament, teller(console)
    cells, out, errors = entrants(recipe), list[Cell](), list[WeitiaoError]()
    for rung in range(1, config.rungs + 1):
        is_last = rung == config.rungs
        if not is_last and len(cells) <= config.cut:
            continue  # so few go on anyway
        rows = max(1, config.rows // config.cut ** (config.rungs - rung))
        done = []
        for number, cell in enumerate(cells, start=1):
            tell(f"Rung {rung} of {config.rungs}, {rows:,} rows: {cell.name} ({number} of {len(cells)})")
            try:
                done.append(_played(recipe, cell, home, task, before if is_last else None, console, rung, rows))
                ended = done[-1]
                tell(f"{cell.name}: {task.metrics[0].title} {ended.score}, validation loss {ended.validation_loss:.4f}")
            except (ModelError, RecipeError, TrainingError) as error:  # this method cannot be had here; the others may
                tell(f"{cell.name} is out: {error.what}")
                out.append(replace(cell, rung=rung, failed=error.what))
                errors.append(error)
        if not done:
            raise errors[0]
        done.sort(key=lambda one: one.rank, reverse=True)
        go_on = len(done) if is_last else max(1, -(-len(done) // config.cut))
        cells, out = done[:go_on], [*done[go_on:], *out]
    return (*cells, *out)


def _played(
    recipe: Recipe,
    cell: Cell,
    home: Path,
    task: Task,
    before: RetentionScores | None,
    console: Console,
    rung: int,
    rows: int,
) -> Cell:
    """A cell after a rung: an ordinary run, which is reused when nothing has changed.

    Args:
        before: What the base model keeps is compared with; None leaves retention out.
        rows: To learn from.
    """
    run = RunDir(home / cell.name / f"rung-{rung}")
    made = _cell_recipe(recipe, cell, run.path, rows)
    run_pipeline(made, console=console, steps=[step for step in STEPS if step.name == "train"])
    predictions = written_answers(
        find_side(str(run.path)), task, rendering=recipe.rendering, output=run.path, console=console
    )
    metric = task.metrics[0]
    grades = tuple(one.grades[metric.title] for one in predictions)
    used = read_records(run.path).steps["train"]
    losses = [line["validation_loss"] for line in read_metrics(run.metrics_path) if "validation_loss" in line]
    played = replace(
        cell,
        rung=rung,
        path=run.path,
        score=metric.estimate([one.item for one in predictions], grades),
        grades=grades,
        validation_loss=min(losses),
        seconds=used.seconds,
        peak_memory_bytes=used.peak_memory_bytes,
        num_trainable=_num_trainable(run),
        size_bytes=sum(file.stat().st_size for file in run.final.rglob("*") if file.is_file()),
    )
    if before is None:
        return played
    found = compare_retention(before, score_retention(made, tuned=True, console=console), recipe.verdict)
    change = next((one.difference for one in found.overall if one.kind == "accuracy"), None)
    return replace(played, retention=change, lost=(*found.lost, *found.worse))


def _cell_recipe(recipe: Recipe, cell: Cell, path: Path, rows: int) -> Recipe:
    """The recipe of a cell: its method and rate, for so many rows, validated where an epoch ends and at the end."""
    changed = {
        "learning_rate": cell.learning_rate, "epochs": None, "max_steps": -(-rows // recipe.train.batch_size),
        "validate_every": "epoch", "validate_answers": 0, "best_by": "loss", "patience": None, "keep_checkpoints": 1,
    }  # fmt: skip
    entry = EntryConfig.model_validate(cell.entry)
    model = recipe.model.model_copy(update={"quantization": entry.quantization or recipe.model.quantization})
    parts = {
        "model": model, "method": entry.method, "optimizer": entry.optimizer or recipe.optimizer,
        "train": recipe.train.model_copy(update=changed), "run_dir": path,
    }  # fmt: skip
    return recipe.model_copy(update=parts)


def _num_trainable(run: RunDir) -> int:
    """Parameters in the newest checkpoint."""
    with safe_open(run.complete_checkpoints()[-1] / WEIGHTS, "np") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
