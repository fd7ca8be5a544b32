"""`weitiao compare`: two models, or their answers, on the same test rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.comparison import Comparison, compare_predictions, write_comparison
from weitiao.evaluation.judges.pairwise import JudgeConfig
from weitiao.evaluation.metrics.base import Metric
from weitiao.evaluation.pairing import pair_predictions
from weitiao.feedback.items import pair_answers
from weitiao.feedback.preference import Preferences
from weitiao.feedback.store import STORE_FILE, FeedbackStore, Made
from weitiao.machine.hardware import detect_hardware
from weitiao.models.config import ModelConfig
from weitiao.runs.run_dir import locked_around
from weitiao.study.compare.answers import stored_answers, written_answers
from weitiao.study.compare.preferences import judge_answers
from weitiao.study.compare.shared import find_shared_task
from weitiao.study.compare.sides import Side, find_side, require_different
from weitiao.study.setup import set_threads
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import teller


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found, and where it lies.

    Attributes:
        comparison: Scores and changes; also in `path`.
        preferences: What judges say; None when nobody was asked.
        before, after: Answers of A and B in the order of the rows.
        path: `comparison.json`.
    """

    comparison: Comparison
    preferences: Preferences | None
    before: tuple[Prediction, ...]
    after: tuple[Prediction, ...]
    path: Path

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values: the comparison, and beside it `preferences` and `path`."""
        return {**asdict(self.comparison), "preferences": self.preferences, "path": str(self.path)}


def compare_targets(
    a: str,
    b: str,
    *,
    data: Path | None = None,
    recipe: Path | None = None,
    limit: int | None = None,
    judges: Sequence[str | JudgeConfig] = (),
    seed: int = 0,
    output: Path | None = None,
    base_model: ModelConfig | None = None,
    console: Console | None = None,
) -> Compared:
    """Compare what a person names.

    Args:
        a: A run, an adapter, a model, `base:RUN`, or a file of predictions: what was there before.
        b: The same for what came after; better means that B is better.
        data: A file of test rows.
        recipe: A recipe whose test rows and settings count. Without either they are those of the run.
        limit: The first so many rows only.
        judges: Who judges the answers by preference: `human`, `human:NAME`, and judge models.
        seed: Of the order in which a person sees items and answers.
        output: Where files go; by default `compare-A-B` in the run directory of B, else of A, else in `runs`, and the
            comparison of a `limit` to `first-N` in it. Answers of a run go to its own directory.
        base_model: Where the base model of both is now, when it is not where the runs or adapters say.
        console: Where progress goes; stderr by default.

    Raises:
        RunError: Another process has a run directory that is written into.
        WeitiaoError: Both sides are the same weights, or something else that the user can put right.
    """
    console = console or TextConsole(stderr=True)
    sides = find_side(a, base_model), find_side(b, base_model)
    require_different(*sides)
    place = kept = output or _default_output(sides)
    if output is None and limit is not None:  # answers and judgements serve comparisons of more and of fewer rows
        place = kept / f"first-{limit}"
    with ExitStack() as locks:
        remedy = "Wait for it: the answers of a run are kept in its directory."
        for folder in [kept, *(side.run_dir for side in sides if side.run_dir is not None)]:
            locks.enter_context(locked_around(folder, remedy))
        before, after, metrics = _answers(sides, data, recipe, limit, kept, console)
        pairs = pair_predictions(before, after, names=(a, b))
        before, after = tuple(one for one, _ in pairs), tuple(other for _, other in pairs)
        comparison = compare_predictions(before, after, names=(a, b), metrics=metrics)
        common = before[0].grades.keys() & after[0].grades
        if left_out := [name for name in after[0].grades if name in common - comparison.metrics.keys()]:
            teller(console)(
                f"Left out: {', '.join(left_out)}. The grades of the rows do not give scores of the whole set; "
                "--recipe RECIPE does."
            )
        place.mkdir(parents=True, exist_ok=True)
        weights, preferences = {"weights_a": sides[0].weights, "weights_b": sides[1].weights}, None
        path = write_comparison(place, comparison, **weights, preferences=None)
        if judges:
            items = pair_answers(before, after)
            store, made = FeedbackStore(kept / STORE_FILE), (Made(a, {}), Made(b, {}))
            store.keep((item, *made) for item in items)
            preferences = judge_answers(items, judges, store, seed=seed, console=console)
            write_comparison(place, comparison, **weights, preferences=preferences)
    return Compared(comparison, preferences, before, after, path)


def _answers(
    sides: tuple[Side, Side], data: Path | None, recipe: Path | None, limit: int | None, output: Path, console: Console
) -> tuple[tuple[Prediction, ...], tuple[Prediction, ...], tuple[Metric, ...]]:
    """The answers of both, and the metrics that graded them (none when they were graded before)."""
    if all(side.kind == "predictions" for side in sides) and recipe is None and data is None:
        before, after = (stored_answers(side, None) for side in sides)
        before = before[:limit]
        wanted = {one.row_id for one in before}
        return before, tuple(one for one in after if limit is None or one.row_id in wanted), ()
    shared = find_shared_task(sides, data=data, recipe=recipe, limit=limit, tell=teller(console))
    chosen = next((side.recipe for side in reversed(sides) if side.recipe is not None), None)
    if chosen is not None:
        set_threads(chosen, detect_hardware())
    before, after = (
        shared.of(stored_answers(side, shared.task.metrics), side.name)
        if side.kind == "predictions"
        else written_answers(side, shared.task, rendering=shared.rendering, output=output, console=console)
        for side in sides
    )
    return before, after, shared.task.metrics


def _default_output(sides: tuple[Side, Side]) -> Path:
    """A directory of its own, so that what `weitiao run` left in the run directory stays: that of B's run, else A's."""
    name = "compare-" + "-".join(map(_slug, sides))
    for side in reversed(sides):
        if side.run_dir is not None:
            return side.run_dir / name
        if side.kind == "predictions" and side.path is not None and (side.path.parent / "recipe.yaml").exists():
            return side.path.parent / name
    return Path("runs") / name


def _slug(side: Side) -> str:
    name = (
        "base" if side.kind == "base" else Path(side.name).stem if side.kind == "predictions" else Path(side.name).name
    )
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
