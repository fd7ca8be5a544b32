"""Grades of answers: by every metric there is, to find the one that grades as a person would, or by a recipe's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from weitiao.config import as_list
from weitiao.ui import recipes
from weitiao.ui.context import Ui
from weitiao.ui.problems import UiError

if TYPE_CHECKING:
    from weitiao.evaluation.metrics.base import Metric

Text = Annotated[str, Field(max_length=200_000)]


class Answered(BaseModel, extra="forbid"):
    """An answer, the one that is expected, and what they are answers to."""

    answer: Text
    expected: Text
    prompt: Annotated[list[dict[str, Any]], Field(max_length=200)] = []
    columns: dict[str, Any] = {}
    row_id: Annotated[str, Field(max_length=4000)] = "the answer"


class Grading(BaseModel, extra="forbid"):
    """Answers that are to be graded.

    Attributes:
        items: The answers.
        settings: Of metrics, by type: every metric grades that has all that it needs. None: those of the recipe grade.
    """

    items: Annotated[list[Answered], Field(min_length=1, max_length=64)]
    settings: dict[str, dict[str, Any]] | None = None


def grading_router(ui: Ui) -> APIRouter:
    """The API of grades."""
    router = APIRouter(tags=["task"])
    workspace = ui.workspace

    @router.post("/api/projects/{name:path}/grades")
    async def grades(name: str, wanted: Grading) -> list[dict[str, Any]]:
        """What metrics give answers: the recipe's own, or, with `settings`, every one that has what it needs.

        For each `metric`, its `grades` and the `score` of all answers; or `problem`, or `needs`, what it lacks.
        """
        from weitiao.evaluation.config import METRICS, metric_of
        from weitiao.evaluation.judges.rating import JudgeMetric
        from weitiao.evaluation.metrics.base import Item
        from weitiao.ui.pages.grading_work import built, graded, lacking, typed

        project = workspace.project(name)
        section = recipes.read(project).get("evaluate") or {}
        if wanted.settings is None:
            chosen = [one for one in as_list(section.get("metrics") or "exact_match") if one != "perplexity"]
        else:
            chosen = [typed(kind, wanted.settings.get(kind, {})) for kind in METRICS]
        told: list[dict[str, Any]] = []
        metrics: dict[int, Metric] = {}
        for place, one in enumerate(chosen):
            told.append(
                {
                    "metric": metric_of(one).get("type"),
                    "grades": None,
                    "score": None,
                    "problem": "",
                    "needs": lacking(one),
                }
            )
            try:
                if not told[place]["needs"]:
                    metrics[place] = metric = built(workspace, project, one)
                    told[place]["metric"] = metric.title if wanted.settings is None else metric.kind
            except UiError as error:
                told[place]["problem"] = f"{error.what} {error.remedy}"
        items = [Item(one.answer, one.expected, tuple(one.prompt), one.columns, one.row_id) for one in wanted.items]
        is_long = any(one.remote or isinstance(one, JudgeMetric) for one in metrics.values())
        found = await (ui.aside if is_long else ui.soon).call(
            graded, [*metrics.values()], items, section.get("normalize", "whitespace")
        )
        for place, values in zip(metrics, found, strict=True):
            told[place] |= values
        return told

    return router
