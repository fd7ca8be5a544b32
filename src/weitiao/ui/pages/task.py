"""The task of a project: what a right answer is, what has to be reached and kept, and how far prompting goes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from weitiao.config import as_list
from weitiao.text.wording import Wording
from weitiao.ui import recipes
from weitiao.ui.context import Ui
from weitiao.ui.pages import data_work as work
from weitiao.ui.pages.data_changes import new_source
from weitiao.ui.pages.home import read_values
from weitiao.ui.pages.jobs import log_of, shown_job
from weitiao.ui.pages.projects import data_files
from weitiao.ui.problems import UiError
from weitiao.ui.templating import language_of
from weitiao.ui.versions import drafted
from weitiao.ui.workspace import Project, Workspace

Suite = Literal["full", "small", "none"]
Share = Annotated[float, Field(gt=0, lt=1)]
FileName = Annotated[str, Field(min_length=1, max_length=1000)]


class Replay(BaseModel, extra="forbid"):
    """General rows against forgetting: a file below the folder that the pages show, and their share; without a file
    there are none."""

    path: FileName | None = None
    share: Share = 0.05


class Task(BaseModel, extra="forbid"):
    """What is asked of the tuned model: shares from 0 to 1; None is the setting's default.

    Attributes:
        metric: What decides; None leaves it.
        settings: Of the metric; None are those that the recipe has for it.
        replay: None leaves it as it is.
    """

    etag: str
    metric: str | None = Field(default=None, max_length=200)
    settings: dict[str, Any] | None = None
    target: float | None = None
    least_gain: float | None = None
    largest_loss: float | None = None
    suite: Suite = "full"
    replay: Replay | None = None


def task_values(workspace: Workspace, project: Project) -> dict[str, Any]:
    """The task as the recipe has it, the last baseline with its run, and the job that makes one; or None."""
    recipe = recipes.read(project)
    written = recipe.get("data.replay") or {}
    return {
        "name": project.name, "etag": recipe.etag,
        "metrics": as_list(recipe.get("evaluate.metrics") or "exact_match"),
        "suite": recipe.get("retention.suite", "full"),
        **{name: recipe.get(f"verdict.{name}") for name in ("target", "least_gain", "largest_loss")},
        "replay": {"path": _shown(workspace, project, written.get("path")), "share": written.get("share")},
        "baseline": _last_baseline(workspace, project), "job": _baseline_job(workspace, project),
    }  # fmt: skip


def _shown(workspace: Workspace, project: Project, path: str | None) -> str | None:
    """A path of a recipe as the pages call it; as it is written, where it lies elsewhere."""
    return path and (workspace.name_of(project.path / path) or path)


@cache
def _num_questions(suite: Suite) -> int:
    from weitiao.retention.config import RetentionConfig
    from weitiao.retention.run import retention_parts

    return sum(part.num_items for part in retention_parts(RetentionConfig(suite=suite)))


def cost(recipe: str, path: str, share: float) -> dict[str, Any]:
    """What general rows add to a training. To be called aside."""
    from dataclasses import asdict

    from weitiao.study.replay import replay_cost

    return asdict(replay_cost(Path(recipe), {"path": path, "share": share, **work.added(path)}))


def task_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["task"])
    workspace = ui.workspace

    @router.get("/projects/{name:path}/task", include_in_schema=False)
    def page(request: Request, name: str) -> Response:
        from weitiao.baseline.config import Selection
        from weitiao.evaluation.config import metric_of
        from weitiao.ui.pages.grading_work import metric_forms

        values = task_values(workspace, workspace.project(name))
        first = metric_of(values["metrics"][0])
        return ui.pages.page(
            request, "task", task=values, decides=first.get("type"),
            forms=metric_forms(values["metrics"], Wording(language_of(request))),
            questions={suite: _num_questions(suite) for suite in get_args(Suite)},
            selections=get_args(Selection), files=data_files(workspace),
        )  # fmt: skip

    @router.get("/api/projects/{name:path}/task")
    def task(name: str) -> dict[str, Any]:
        """What is asked of the tuned model, and the last baseline."""
        return task_values(workspace, workspace.project(name))

    @router.get("/api/projects/{name:path}/replay")
    async def replay(name: str, path: FileName, share: Annotated[float, Query(gt=0, lt=1)] = 0.05) -> dict[str, Any]:
        """What general rows add to a training: `num_rows` of them (`num_different` where some come again) beside
        `num_train`, and `share_longer`, how much more there is to compute."""
        project = workspace.project(name)
        return await ui.aside.call(cost, str(project.recipe), str(workspace.inside(path)), share)

    @router.post("/api/projects/{name:path}/task")
    async def save(name: str, wanted: Task) -> dict[str, str]:
        """Say what is asked of the tuned model; other general rows are a new version of the data."""
        project = workspace.project(name)
        recipe = recipes.read(project)
        changes: dict[str, Any] = {"retention.suite": wanted.suite}
        for key in ("target", "least_gain", "largest_loss"):
            changes[f"verdict.{key}"] = getattr(wanted, key)
        if wanted.metric is not None:
            there = as_list(recipe.get("evaluate.metrics") or [])
            changes["evaluate.metrics"] = _first(wanted.metric, wanted.settings, there)
        now = task_values(workspace, project)["replay"]
        if wanted.replay is None or wanted.replay.model_dump() == now or not (wanted.replay.path or now["path"]):
            return {"etag": recipes.change(project, changes, wanted.etag)}
        changes |= await _replay_changes(wanted.replay, project, same_file=wanted.replay.path == now["path"])
        async with drafted(project, "replayed", wanted.etag) as draft:
            draft.changes, draft.about = changes, Path(wanted.replay.path or "").name
        return {"etag": draft.etag}

    async def _replay_changes(wanted: Replay, project: Project, *, same_file: bool) -> dict[str, Any]:
        if wanted.path is None:
            return {"data.replay": None}
        if same_file:
            return {"data.replay.share": wanted.share}
        return {"data.replay": {"share": wanted.share, **await new_source(ui, project, workspace.inside(wanted.path))}}

    return router


def _first(metric: str, settings: dict[str, Any] | None, there: list[Any]) -> list[Any]:
    """The metrics with one at their head, with the name that it has there, and the settings unless it gets others."""
    from weitiao.evaluation.config import METRICS, metric_of
    from weitiao.ui.pages.grading_work import lacking, typed

    kept = next((one for one in there if metric_of(one).get("type") == metric), metric)
    others = [one for one in there if one not in (kept, "perplexity")]
    if settings is not None and metric in METRICS:
        name = {"name": kept["name"]} if isinstance(kept, dict) and "name" in kept else {}
        values = {**typed(metric, settings), **name}
        kept = values if len(values) > 1 else metric
    if missing := lacking(kept):
        what = f"The metric {metric} needs {' or '.join(f'`{one}`' for one in missing)}."
        raise UiError(what, "Say it beside the metric.", field=f"settings.{metric}.{missing[0]}")
    return [kept, *others, *(["perplexity"] if "perplexity" in there and metric != "perplexity" else [])]


def _baseline_job(workspace: Workspace, project: Project) -> dict[str, Any] | None:
    """The last job that was to make a baseline, with the last lines that it printed; None where it is done."""
    jobs = workspace.jobs.jobs(str(project.path))
    own = [
        one for one in jobs if one.command[0] == "baseline" and one.run_dir and Path(one.run_dir).parent == project.runs
    ]
    last = max(own, key=lambda one: one.id, default=None)
    if last is None or last.state == "done":
        return None
    lines = [line.strip() for line in log_of(workspace, last.id, None)["text"].splitlines()]
    return {**shown_job(last, workspace), "said": [line for line in lines if line][-3:]}


def _last_baseline(workspace: Workspace, project: Project) -> dict[str, Any] | None:
    found = [path for path in project.runs.glob("*/baseline.json") if path.parent.name.isdecimal()]
    for path in sorted(found, key=lambda one: int(one.parent.name), reverse=True):
        values = read_values(path)
        if values.get("finished"):
            return {"run": workspace.name_of(path.parent), **values}
    return None
