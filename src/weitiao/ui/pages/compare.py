"""Runs beside one another: settings that differ, scores with their intervals, curves, and the answers that changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from weitiao.errors import WeitiaoError
from weitiao.ui.context import Ui
from weitiao.ui.pages.home import outline, read_values
from weitiao.ui.problems import UiError
from weitiao.ui.workspace import Workspace
from weitiao.yaml_text import read_yaml

MOST_RUNS = 8
MOST_ANSWERS = 50

Runs = Annotated[list[str] | None, Query(max_length=MOST_RUNS)]


def compare_values(workspace: Workspace, names: list[str]) -> dict[str, Any]:
    """What sets runs apart, and how they score.

    Returns:
        `runs`, each as the first page has it, with `metrics` (name to `value`, `low`, `high`, `n`); `metrics`, the
        names of all of them; `settings`, dotted names to a value for each run, of those that differ.
    """
    runs, recipes = [], []
    for name in names:
        run = workspace.run(name)
        runs.append({**outline(workspace, name), "metrics": read_values(run.path / "scores.json").get("metrics", {})})
        recipes.append(dict(_flat(read_yaml(run.recipe_path))))
    keys = dict.fromkeys(key for one in recipes for key in one)
    rows = {key: [one.get(key) for one in recipes] for key in keys}
    differing = {key: row for key, row in rows.items() if any(one != row[0] for one in row)}
    return {
        "runs": runs,
        "metrics": list(dict.fromkeys(metric for run in runs for metric in run["metrics"])),
        "settings": differing,
    }


def changed_answers(a: str, b: str, names: tuple[str, str]) -> dict[str, Any]:
    """What `weitiao compare` says of the answers that two runs left, graded as they were. To be called aside.

    Returns:
        The comparison, with the largest changes of `better` and `worse`, and how many there are
        (`num_better`, `num_worse`).

    Raises:
        WeitiaoError: One of them left no answers, or they answered other rows.
    """
    from weitiao.errors import RunError
    from weitiao.evaluation.answer_files import read_predictions
    from weitiao.evaluation.comparison import compare_predictions

    answers = []
    for folder, name in zip((a, b), names, strict=True):
        path = Path(folder) / "predictions.jsonl"
        if not path.is_file():
            raise RunError(f"{name} has no answers yet.", "They are written by the step eval.")
        answers.append(read_predictions(path))
    found = compare_predictions(*answers, names=names)
    values = asdict(found)
    for side in ("better", "worse"):
        values[f"num_{side}"] = len(values[side])
        values[side] = values[side][:MOST_ANSWERS]
    return values


def _flat(values: Any, name: str = "") -> list[tuple[str, Any]]:
    """The settings of a recipe by their dotted names."""
    if isinstance(values, dict) and values:
        return [one for key, inner in values.items() for one in _flat(inner, f"{name}.{key}".lstrip("."))]
    return [(name, values)]


def compare_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["compare"])
    workspace = ui.workspace

    @router.get("/compare", include_in_schema=False)
    def page(request: Request, runs: Runs = None) -> Response:
        chosen = list(dict.fromkeys(runs or []))
        return ui.pages.page(
            request, "compare", area="compare", chosen=chosen, known=workspace.runs(), most=MOST_RUNS,
            compared=compare_values(workspace, chosen) if len(chosen) > 1 else None,
        )  # fmt: skip

    @router.get("/compare/answers", include_in_schema=False)
    async def answers_part(request: Request, a: str, b: str) -> Response:
        try:
            found, problem = await answers(a, b), None
        except WeitiaoError as error:
            found, problem = None, error
        return ui.pages.page(request, "answers", change=found, problem=problem)

    @router.get("/api/compare")
    def compare(runs: Runs = None) -> dict[str, Any]:
        """Settings that differ between runs, and their scores with intervals."""
        if len(set(runs or [])) < 2:
            raise UiError("Name at least two runs.", "runs=a&runs=b", field="runs")
        return compare_values(workspace, list(dict.fromkeys(runs or [])))

    @router.get("/api/compare/answers")
    async def answers(a: str, b: str) -> dict[str, Any]:
        """What changed from the answers of run `a` to those of run `b`, with its statistics: `weitiao compare`."""
        first, second = (str(workspace.run(name).path) for name in (a, b))
        return await ui.aside.call(changed_answers, first, second, (a, b))

    return router
