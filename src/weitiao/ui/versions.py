"""Versions of a project's data: each is the recipe's section `data` as it was, with the rows that were written for it.

A version is a folder `data/vN` with a note, `version.json`, and files of its own where rows were changed. Nothing that
a version names is written again, so going back is putting its section into the recipe.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weitiao.files import full_disk_is_named, writable, write_json
from weitiao.ui import recipes
from weitiao.ui.problems import NotFoundError, UiError
from weitiao.ui.workspace import Project

_NOTE = "version.json"
_MEANING = ("format", "columns", "prompt", "system", "completion")
"""What a source says of its columns."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version.

    Attributes:
        number: From 1.
        what: What was done, a key of `ui.data.did`.
        about: What it was done to or with, in words of the user: a file, kinds of findings, a number of rows.
        made: When, ISO 8601.
        data: The recipe's section.
    """

    number: int
    what: str
    about: str
    made: str
    data: dict[str, Any]


def versions(project: Project) -> list[Version]:
    """All of them, the first one first; a note that is damaged is passed over."""
    found = []
    for path in project.data.glob(f"v*/{_NOTE}"):
        try:
            found.append(Version(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):  # being written, or not ours
            continue
    return sorted(found, key=lambda one: one.number)


def current(project: Project, recipe: recipes.ReadRecipe) -> int | None:
    """The version whose section the recipe has; None where it was changed by hand since."""
    data = recipe.get("data")
    return max((one.number for one in versions(project) if one.data == data), default=None)


@dataclass(slots=True)
class Draft:
    """A version that is being made.

    Attributes:
        folder: For its files.
        name: The folder, as the recipe names it.
        changes: Settings of the recipe, dotted, that make it.
        about: As of `Version`.
        etag: That of the recipe, once it is made.
    """

    folder: Path
    name: str
    changes: dict[str, Any]
    about: str = ""
    etag: str = ""


@asynccontextmanager
async def drafted(project: Project, what: str, etag: str) -> AsyncIterator[Draft]:
    """Make a version; where anything goes wrong, nothing of it stays and the recipe is as it was.

    Args:
        project: Whose.
        what: As of `Version`.
        etag: That of the recipe which the change was made for.

    Raises:
        UiError: The recipe was changed meanwhile (409).
        WeitiaoError: The settings cannot be used, or the disk is full.
    """
    before = recipes.read(project)
    if before.etag != etag:
        raise recipes.changed_meanwhile()
    if current(project, before) is None:
        keep_as_it_is(project, "found", "")
    with _reserved(project) as folder:
        draft = Draft(folder, f"{project.data.name}/{folder.name}", {})
        yield draft
        draft.etag = recipes.change(
            project, draft.changes, etag, first=lambda values: _note(folder, what, draft.about, values["data"])
        )


def keep_as_it_is(project: Project, what: str, about: str) -> None:
    """Make a version of what the recipe has now: `what` and `about` as of `Version`."""
    with _reserved(project) as folder:
        _note(folder, what, about, recipes.read(project).values["data"])


def go_back(project: Project, number: int, etag: str) -> str:
    """Put the section of a version into the recipe.

    Returns:
        The new etag.

    Raises:
        UiError: There is no such version, a file of it was deleted, or the recipe was changed meanwhile.
    """
    chosen = next((one for one in versions(project) if one.number == number), None)
    if chosen is None:
        raise NotFoundError(f"{project.name} has no version {number} of its data.")
    now: Mapping[str, Any] = recipes.read(project).get("data") or {}
    keys = {**now, **chosen.data}
    changes = {f"data.{key}": chosen.data.get(key) for key in keys if now.get(key) != chosen.data.get(key)}
    return recipes.change(project, changes, etag) if changes else etag


@contextmanager
def _reserved(project: Project) -> Iterator[Path]:
    """A folder for the next version, which nobody else gets; gone with all in it where anything goes wrong."""
    with writable(project.data, "The new version"):
        folder = _next(project)
    try:
        with full_disk_is_named("the new version", "Make room, then do it again."):
            yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _next(project: Project) -> Path:
    number = 1 + max((int(path.name[1:]) for path in project.data.glob("v*") if path.name[1:].isdecimal()), default=0)
    while True:
        folder = project.data / f"v{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        return folder


def _note(folder: Path, what: str, about: str, data: dict[str, Any]) -> None:
    made = datetime.now(UTC).isoformat(timespec="seconds")
    with writable(folder, "The new version"):
        write_json(folder / _NOTE, asdict(Version(int(folder.name[1:]), what, about, made, data)))


def with_other_path(data: Mapping[str, Any], part: str, index: int, path: str) -> dict[str, Any]:
    """The changes that let a source of a recipe's section read another file, all rows of it.

    Args:
        data: The section as it is written.
        part: `train`, `validation`, `test` or `replay`.
        index: Which source of it.
        path: The file, as the recipe names it.
    """
    given, name = source_at(data, part, index)
    if not isinstance(given, dict):
        return {name: path}
    taken = {f"{name}.{key}": None for key in ("limit", "split", "subset") if key in given}
    return {f"{name}.path": path, **taken}


def with_other_meaning(data: Mapping[str, Any], part: str, index: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of a recipe that let a source be read in another way; arguments as of `with_other_path`.

    Args:
        settings: What it says of its columns; what it said before goes.
    """
    given, name = source_at(data, part, index)
    if not isinstance(given, dict):
        return {name: {"path": given, **settings} if settings else given}
    return {f"{name}.{key}": settings.get(key) for key in _MEANING if key in given or key in settings}


def source_at(data: Mapping[str, Any], part: str, index: int) -> tuple[Any, str]:
    """A source as it is written in a recipe's section, and its dotted name; arguments as of `with_other_path`.

    Raises:
        UiError: There is none.
    """
    given, name = data[part], f"data.{part}"
    if not isinstance(given, list):
        return given, name
    if not index < len(given):
        raise UiError(f"There is no source {index} in {part}.", "Reload the page.", status=404)
    return given[index], f"{name}.{index}"
