"""The data of a project: what was found in it, what its columns mean, what is wrong with it, and its versions."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from weitiao.errors import WeitiaoError
from weitiao.text.wording import Wording
from weitiao.ui import recipes
from weitiao.ui.context import Ui
from weitiao.ui.pages import data_work as work
from weitiao.ui.pages.projects import data_files
from weitiao.ui.templating import Spoken
from weitiao.ui.versions import current, versions
from weitiao.ui.workspace import Project, Workspace

PartName = Literal["train", "validation", "test", "replay"]
_KEPT = 16
MOST_COLUMNS = 200


class Place(BaseModel, extra="forbid"):
    """A source: which of its part."""

    part: PartName = "train"
    source: int = Field(default=0, ge=0)


class Mapping(Place):
    """What the columns of a source are; `roles` None is what the recipe says."""

    row: int = Field(default=0, ge=0)
    roles: dict[str, str] | None = Field(default=None, max_length=500)
    templates: dict[Literal["prompt", "system", "completion"], str] = {}


def data_values(workspace: Workspace, project: Project) -> dict[str, Any]:
    """What can be said of a project's data without reading it: its recipe's section, and the versions."""
    recipe = recipes.read(project)
    found = versions(project)
    return {
        "name": project.name, "etag": recipe.etag, "model": recipe.get("model.name", recipe.get("model")),
        "data": recipe.get("data"), "version": current(project, recipe),
        "versions": [
            {"number": one.number, "what": one.what, "about": one.about, "made": one.made} for one in reversed(found)
        ],
    }  # fmt: skip


async def previewed(ui: Ui, project: Project, wanted: Mapping) -> dict[str, Any]:
    """A row under a mapping, as `work.previewed` gives it."""
    return await ui.soon.call(
        work.previewed, str(project.recipe), wanted.part, wanted.source, wanted.row, wanted.roles, {**wanted.templates}
    )


class Checks:
    """The last checks, and those that run: who asks again meanwhile waits for the same one."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._found: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def of(self, project: Project, *, only_known: bool = False) -> dict[str, Any] | None:
        """The findings in the data as they are now.

        Args:
            project: Whose.
            only_known: None, where they were not checked yet.
        """
        key = self._key(project)
        task = self._found.get(key)
        if task is not None and task.done() and (task.cancelled() or task.exception()):
            task = None
        if task is None:
            if only_known:
                return None
            task = asyncio.ensure_future(self._ui.aside.call(work.checked, str(project.recipe)))
            self._found[key] = task
            while len(self._found) > _KEPT:
                self._found.pop(next(iter(self._found)))
        return await asyncio.shield(task)

    def _key(self, project: Project) -> str:
        recipe = recipes.read(project)
        stamps = [work.stamp(str(path)) for path in _paths(project, recipe.get("data"))]
        return hashlib.sha256("\n".join([project.name, recipe.etag, *stamps]).encode()).hexdigest()


def _paths(project: Project, data: Any) -> list[Path]:
    """What the sources of a section name, where it lies here."""
    if isinstance(data, str):
        return [project.path / data]
    if isinstance(data, list):
        return [path for one in data for path in _paths(project, one)]
    if isinstance(data, dict):
        names = ("path",) if "path" in data else ("train", "validation", "test", "replay")
        return [path for name in names for path in _paths(project, data.get(name))]
    return []


def data_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["data"])
    workspace, checks = ui.workspace, Checks(ui)

    @router.get("/projects/{name:path}/data", include_in_schema=False)
    def page(request: Request, name: str, part: PartName = "train", source: int = 0, row: int = 0) -> Response:
        project = workspace.project(name)
        place = {"part": part, "source": source, "row": row}
        values = data_values(workspace, project)
        return ui.pages.page(request, "data", project=values, place=place, files=data_files(workspace))

    @router.get("/projects/{name:path}/data/found", include_in_schema=False)
    async def found(request: Request, name: str) -> Response:
        project = workspace.project(name)
        try:
            etag = recipes.read(project).etag
            told: dict[str, Any] = {
                "problem": None,
                "sources": await ui.soon.call(work.described, str(project.recipe)),
            }
        except WeitiaoError as error:
            etag, told = "", {"sources": [], "problem": error}
        return ui.pages.page(request, "data_found", name=name, root=str(project.path), etag=etag, **told)

    @router.get("/projects/{name:path}/data/findings", include_in_schema=False)
    async def findings(request: Request, name: str, now: bool = False) -> Response:
        project = workspace.project(name)
        values: dict[str, Any] = {"name": name, "etag": recipes.read(project).etag, "problem": None, "report": None}
        try:
            values["report"] = await checks.of(project, only_known=not now)
        except WeitiaoError as error:
            values["problem"] = error
        return ui.pages.page(request, "data_findings", **values)

    @router.get("/projects/{name:path}/data/row", include_in_schema=False)
    async def row_page(
        request: Request, name: str, row: Annotated[int, Query(ge=1)], part: PartName = "train", source: int = 0,
        file: int = 0,
    ) -> Response:  # fmt: skip
        project = workspace.project(name)
        found = await ui.soon.call(work.read_row, str(project.recipe), part, source, file, row)
        place = {"part": part, "source": source, "file": file, "row": row}
        values = {"name": name, "etag": recipes.read(project).etag}
        shown = found["columns"][:MOST_COLUMNS]
        return ui.pages.page(
            request, "data_row", project=values, place=place, columns=shown, seen=found["seen"],
            num_columns=len(found["columns"]),
        )  # fmt: skip

    @router.get("/api/projects/{name:path}/data")
    def data(name: str) -> dict[str, Any]:
        """The section `data` of a project's recipe, its `etag`, and the versions."""
        return data_values(workspace, workspace.project(name))

    @router.get("/api/projects/{name:path}/data/sources")
    async def sources(name: str) -> list[dict[str, Any]]:
        """Every source: what was detected, how many rows can be used, and what is wrong with others."""
        return await ui.soon.call(work.described, str(workspace.project(name).recipe))

    @router.get("/api/projects/{name:path}/data/check")
    async def check(name: str) -> dict[str, Any] | None:
        """The findings of the data check, with the first rows of each."""
        return await checks.of(workspace.project(name))

    @router.post("/api/projects/{name:path}/data/preview")
    async def preview(name: str, wanted: Mapping, language: Spoken = "en") -> dict[str, Any]:
        """A row as it stands in its file, and as the model would see it: `sequences` of `pieces` [text, learned,
        special]."""
        found, say = await previewed(ui, workspace.project(name), wanted), Wording(language).phrase
        for one in found.get("sequences", ()):
            one["label"] = say(one["label"])
        return found | {key: say(found[key]) for key in ("error", "remedy", "problem") if key in found}

    return router
