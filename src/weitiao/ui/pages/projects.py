"""Projects: the page that begins one, its recipe, and the files that are brought to it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from weitiao.data.reading.opening import COMPRESSED, data_suffix
from weitiao.data.reading.paths import DATA_SUFFIXES
from weitiao.errors import WeitiaoError
from weitiao.machine.catalogue import CATALOGUE
from weitiao.ui import recipes
from weitiao.ui.context import Ui
from weitiao.ui.problems import UiError
from weitiao.ui.workspace import Project, Workspace

_AT_ONCE = 2**20


class NewProject(BaseModel, extra="forbid"):
    """What a project begins with.

    Attributes:
        name: Of its folder.
        model: The base model: a name of the catalogue, a directory, a .gguf file or a hub id.
    """

    name: str = Field(max_length=200)
    model: str = Field(default=next(iter(CATALOGUE)), min_length=1, max_length=1000)


class Changes(BaseModel, extra="forbid"):
    """What is set in a recipe.

    Attributes:
        changes: Dotted names to values; null takes a setting out, so that its default counts.
        none: Names of settings that are to be null, where that is not their default.
        etag: That of the recipe which was read.
    """

    changes: dict[str, Any] = Field(default={}, max_length=500)
    none: list[str] = Field(default=[], max_length=500)
    etag: str


def shown_recipe(project: Project) -> dict[str, Any]:
    """The recipe of a project as the API gives it: `values`, `text`, `etag`."""
    found = recipes.read(project)
    return {"name": project.name, "values": found.values, "text": found.text, "etag": found.etag}


async def store(folder: Path, name: str, chunks: AsyncIterator[bytes], num_bytes: int) -> Path:
    """Write what comes to a new file; nothing stays of one that did not come whole.

    Args:
        folder: Where.
        name: As the user calls it; one that is taken gets a number.
        chunks: The bytes.
        num_bytes: How many are announced, or 0.

    Raises:
        UiError: The kind of file is not read, the disk is full, or fewer bytes came than were announced.
    """
    plain = Path(name.replace("\\", "/")).name.lstrip(".")
    if data_suffix(Path(plain)) not in DATA_SUFFIXES or not plain.isprintable() or len(plain.encode()) > 200:
        known = f"{', '.join(DATA_SUFFIXES)}, and {', '.join(COMPRESSED)} behind them"
        raise UiError(f"{plain or name!r}: the kind of file is not known.", f"Known kinds are {known}.", field="files")
    full = UiError(f"The disk is full: {plain} could not be stored.", "Make room, then send it again.", status=507)
    if num_bytes > shutil.disk_usage(folder.parent).free:
        raise full
    part = folder / f".{plain}.{os.urandom(4).hex()}.part"
    try:
        folder.mkdir(exist_ok=True)
        with part.open("xb") as file:
            async for chunk in _gathered(chunks):
                await asyncio.to_thread(file.write, chunk)
            size = file.tell()
        if size < num_bytes:
            raise UiError(f"{plain} did not come whole.", "Send it again.")
        return _put(part, folder, plain)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full from error
        what = f"{plain} could not be stored: {error.strerror or error}."
        raise UiError(what, "Make room there, or fix the permissions.", status=507) from error
    finally:
        part.unlink(missing_ok=True)


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces, each of which is written in a thread."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= _AT_ONCE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _put(part: Path, folder: Path, name: str) -> Path:
    """Give a file its name, or the first with a number that is free."""
    stem, dot, endings = name.partition(".")
    for number in range(1, 10_000):
        path = folder / (name if number == 1 else f"{stem}-{number}{dot}{endings}")
        try:
            os.link(part, path)
        except FileExistsError:
            continue
        return path
    raise UiError(f"{name} is there ten thousand times.", "Choose another name.", field="files")


def data_files(workspace: Workspace, most: int = 500) -> list[str]:
    """Files below the workspace that can be read as data and lie in no run."""
    found: list[str] = []
    for folder in workspace.folders:
        if folder.kind == "run":
            continue
        found += [
            path.relative_to(workspace.root).as_posix()
            for path in sorted(folder.path.iterdir())
            if data_suffix(path) in DATA_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    return found[:most]


def projects_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["projects"])
    workspace = ui.workspace

    @router.get("/new", include_in_schema=False)
    def page(request: Request) -> Response:
        return ui.pages.page(request, "new", models=list(CATALOGUE), files=data_files(workspace))

    @router.get("/api/projects")
    def projects() -> list[str]:
        """The names of all projects."""
        return [one.name for one in workspace.projects()]

    @router.post("/api/projects", status_code=201)
    def begin(new: NewProject) -> dict[str, Any]:
        """Make a project: a folder whose recipe names the model, and nothing else yet."""
        project = workspace.new_project(new.name.strip())
        try:
            recipes.begin(project, new.model.strip())
        except WeitiaoError:
            shutil.rmtree(project.path)
            raise
        return shown_recipe(project)

    @router.get("/api/projects/{name:path}/recipe")
    def recipe(name: str) -> dict[str, Any]:
        """The recipe of a project; its `etag` is to be given back with a change."""
        return shown_recipe(workspace.project(name))

    @router.patch("/api/projects/{name:path}/recipe")
    def change(name: str, wanted: Changes) -> dict[str, str]:
        """Set settings of a recipe, all of them or none."""
        return {"etag": recipes.change(workspace.project(name), wanted.changes, wanted.etag, none=wanted.none)}

    @router.put("/api/uploads/{name:path}", status_code=201)
    async def upload(request: Request, name: str, file: Annotated[str, Query(max_length=500)]) -> dict[str, Any]:
        """Bring a file to a project: the body is the file, `file` what it is called."""
        project = workspace.project(name)
        length = request.headers.get("content-length", "0")
        path = await store(project.data, file, request.stream(), int(length) if length.isdecimal() else 0)
        return {"file": path.relative_to(workspace.root).as_posix(), "bytes": path.stat().st_size}

    return router
