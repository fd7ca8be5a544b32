"""The task of a project: what a right answer is, what has to be reached and kept, and how far prompting goes."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from weitiao.ui import recipes
from weitiao.ui.context import Ui
from weitiao.ui.pages.home import read_values
from weitiao.ui.workspace import Project, Workspace

_GRADERS = ("exact_match", "normalized_match", "contains", "accuracy", "number", "json_valid", "json_fields", "rouge_l")
"""Metrics that grade one answer by itself and need no settings."""


class Tried(BaseModel, extra="forbid"):
    """An answer, and the one that is expected."""

    answer: str = Field(max_length=100_000)
    expected: str = Field(max_length=100_000)


class Task(BaseModel, extra="forbid"):
    """What is asked of the tuned model: shares from 0 to 1; None is the setting's default."""

    etag: str
    metric: str | None = Field(default=None, max_length=200)
    target: float | None = None
    least_gain: float | None = None
    largest_loss: float | None = None
    suite: Literal["full", "small", "none"] = "full"


def task_values(workspace: Workspace, project: Project) -> dict[str, Any]:
    """The task as the recipe has it, and the last baseline with its run, or None."""
    recipe = recipes.read(project)
    metrics = recipe.get("evaluate.metrics") or ["exact_match"]
    metrics = metrics if isinstance(metrics, list) else [metrics]
    return {
        "name": project.name, "etag": recipe.etag,
        "metrics": metrics, "suite": recipe.get("retention.suite", "full"),
        **{name: recipe.get(f"verdict.{name}") for name in ("target", "least_gain", "largest_loss")},
        "baseline": _last_baseline(workspace, project),
    }  # fmt: skip


def graded(answer: str, expected: str) -> list[dict[str, Any]]:
    """The grade that each metric gives an answer, with what the metric says of itself; for metrics without settings."""
    from pydantic import TypeAdapter, ValidationError

    from weitiao.errors import WeitiaoError
    from weitiao.evaluation.config import MetricConfig
    from weitiao.evaluation.metrics.base import Item

    found, item = [], Item(answer=answer, expected=expected)
    for name in _GRADERS:
        try:
            metric = TypeAdapter[Any](MetricConfig).validate_python(name).build()
            metric.check(item)
            grade: float | None = metric.grade(item)
            problem = ""
        except (WeitiaoError, ValidationError) as error:  # an extra is missing, or the expected answer is none for it
            grade, problem = None, error.what if isinstance(error, WeitiaoError) else str(error)
            metric = None
        about = " ".join((type(metric).__doc__ or "").split()) if metric is not None else ""
        found.append({"metric": name, "grade": grade, "problem": problem, "about": about})
    return found


def task_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["task"])
    workspace = ui.workspace

    @router.get("/projects/{name:path}/task", include_in_schema=False)
    def page(request: Request, name: str) -> Response:
        values = task_values(workspace, workspace.project(name))
        return ui.pages.page(request, "task", task=values, graders=_GRADERS)

    @router.get("/api/projects/{name:path}/task")
    def task(name: str) -> dict[str, Any]:
        """What is asked of the tuned model, and the last baseline."""
        return task_values(workspace, workspace.project(name))

    @router.post("/api/grades")
    async def grades(tried: Tried) -> list[dict[str, Any]]:
        """What each metric gives an answer."""
        return await ui.soon.call(graded, tried.answer, tried.expected)

    @router.post("/api/projects/{name:path}/task")
    def save(name: str, wanted: Task) -> dict[str, str]:
        """Say what is asked of the tuned model."""
        project = workspace.project(name)
        metrics = recipes.read(project).get("evaluate.metrics")
        changes: dict[str, Any] = {"retention.suite": wanted.suite}
        for key in ("target", "least_gain", "largest_loss"):
            changes[f"verdict.{key}"] = getattr(wanted, key)
        if wanted.metric is not None:
            there = metrics if isinstance(metrics, list) else [metrics] if metrics else []
            changes["evaluate.metrics"] = _first(wanted.metric, there)
        return {"etag": recipes.change(project, changes, wanted.etag)}

    return router


def _first(metric: str, there: list[Any]) -> list[Any]:
    """The metrics with one at their head, with the settings that it has there."""
    kept = [one for one in there if (one.get("type") if isinstance(one, dict) else one) == metric]
    others = [one for one in there if one not in kept and one != "perplexity"]
    return [*(kept or [metric]), *others, *(["perplexity"] if "perplexity" in there and metric != "perplexity" else [])]


def _last_baseline(workspace: Workspace, project: Project) -> dict[str, Any] | None:
    found = [path for path in project.runs.glob("*/baseline.json") if path.parent.name.isdecimal()]
    for path in sorted(found, key=lambda one: int(one.parent.name), reverse=True):
        values = read_values(path)
        if values.get("finished"):
            return {"run": workspace.name_of(path.parent), **values}
    return None
