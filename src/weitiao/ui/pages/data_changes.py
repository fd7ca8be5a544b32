"""Changes of a project's data: each becomes a new version."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from weitiao.data.clean_config import FixName
from weitiao.errors import WeitiaoError
from weitiao.ui import recipes
from weitiao.ui.context import Ui
from weitiao.ui.pages import data_work as work
from weitiao.ui.pages.data import Mapping, Place, previewed
from weitiao.ui.problems import UiError
from weitiao.ui.versions import drafted, go_back, keep_as_it_is, source_at, with_other_meaning, with_other_path
from weitiao.ui.workspace import Project


class Sent(BaseModel, extra="forbid"):
    """What every change of the data has: the `etag` of the recipe that it was made for."""

    etag: str


class Files(Sent):
    """Files for a part: names below the folder that these pages show."""

    files: list[str] = Field(min_length=1, max_length=100)
    part: Literal["train", "validation", "test"] = "train"


class Mapped(Mapping):
    """A mapping that is to be saved, and the `stamp` of the file that it was made with."""

    etag: str
    stamp: str


class Mend(Sent):
    """Kinds of findings that are to be removed from the training rows."""

    fixes: list[FixName] = Field(min_length=1)


class RowEdit(BaseModel, extra="forbid"):
    """A row, `seen` as it was read, and the texts of its columns by their place."""

    file: int = Field(default=0, ge=0)
    row: int = Field(ge=1)
    seen: str
    values: dict[int, str]


class Rows(Sent, Place):
    """Rows of a source that go, and one that changes."""

    drop: list[tuple[int, int]] = Field(default=[], max_length=100_000)
    edit: RowEdit | None = None


class Shares(Sent):
    """How the rows are divided, and how often each source's rows are repeated."""

    validation: float | None = None
    test: float | None = None
    keep_together: Literal["near", "same"] = "near"
    weights: list[float] = []


async def first_recipe(ui: Ui, project: Project, files: list[Path]) -> str | None:
    """Let the first recipe be made from files; what could not be guessed, in words, or None."""
    before = recipes.read(project)
    model = before.get("model.name", before.get("model"))
    made = await ui.soon.call(work.begin, str(project.path), [str(one) for one in files], str(model))
    recipes.replace(project, made["text"], before.etag)
    keep_as_it_is(project, "began", ", ".join(one.name for one in files))
    problem: str | None = made["problem"]
    return problem


async def new_source(ui: Ui, project: Project, path: Path) -> dict[str, Any]:
    """A file as a recipe names it, relative to its own folder where it lies below, with what its columns mean."""
    shown = path.relative_to(project.path).as_posix() if path.is_relative_to(project.path) else str(path)
    return {"path": shown, **await ui.soon.call(work.added, str(path))}


def sources_router(ui: Ui) -> APIRouter:
    """What is read, and how it is understood."""
    router = APIRouter(prefix="/api/projects", tags=["data"])
    workspace = ui.workspace

    @router.post("/{name:path}/data/mapping", status_code=201)
    async def save_mapping(name: str, wanted: Mapped) -> dict[str, Any]:
        """Let the columns of a source mean something else, as a new version."""
        project = workspace.project(name)
        told = await previewed(ui, project, wanted)
        if told["stamp"] != wanted.stamp:
            raise UiError("The file was changed meanwhile.", "Reload the page to see it.", status=409)
        if told.get("error"):
            raise WeitiaoError(told["error"], told["remedy"])
        settings = told["settings"] or {}
        async with drafted(project, "mapped", wanted.etag) as draft:
            section = recipes.read(project).values["data"]
            draft.changes = with_other_meaning(section, wanted.part, wanted.source, settings)
        return {"etag": draft.etag}

    @router.post("/{name:path}/data/files", status_code=201)
    async def bring(name: str, wanted: Files) -> dict[str, Any]:
        """Begin with files, or add some to a part, as a new version."""
        project = workspace.project(name)
        paths = [workspace.inside(one) for one in wanted.files]
        recipe = recipes.read(project)
        if recipe.etag != wanted.etag:
            raise recipes.changed_meanwhile()
        if recipe.get("data") is None:
            return {"name": name, "problem": await first_recipe(ui, project, paths)}
        there = recipe.get(f"data.{wanted.part}")
        there = [] if not there or isinstance(there, float) else there if isinstance(there, list) else [there]
        new = []
        for path in paths:
            source = await new_source(ui, project, path)
            new.append(source if len(source) > 1 else source["path"])
        async with drafted(project, "added", wanted.etag) as draft:
            draft.changes = {f"data.{wanted.part}": [*there, *new]}
            draft.about = ", ".join(path.name for path in paths)
        return {"name": name, "etag": draft.etag, "problem": None}

    @router.post("/{name:path}/data/remove", status_code=201)
    async def remove(name: str, place: Place, etag: str) -> dict[str, Any]:
        """Take a source out of its part, as a new version; its files stay."""
        project = workspace.project(name)
        there = recipes.read(project).get(f"data.{place.part}")
        several = isinstance(there, list) and len(there) > 1
        if place.part == "train" and not several:
            raise UiError("These are the only training rows.", "Add others first.")
        left = [one for at, one in enumerate(there) if at != place.source] if several else None
        async with drafted(project, "removed", etag) as draft:
            draft.changes = {f"data.{place.part}": left}
        return {"etag": draft.etag}

    return router


def rows_router(ui: Ui) -> APIRouter:
    """Which rows there are."""
    router = APIRouter(prefix="/api/projects", tags=["data"])
    workspace = ui.workspace

    @router.post("/{name:path}/data/mend", status_code=201)
    async def mend(name: str, wanted: Mend) -> dict[str, Any]:
        """Remove kinds of findings from the training rows, as a new version."""
        project = workspace.project(name)
        async with drafted(project, "mended", wanted.etag) as draft:
            done = await ui.aside.call(work.mended, str(project.recipe), list(wanted.fixes), str(draft.folder))
            section = recipes.read(project).values["data"]
            for index, file in enumerate(done["files"]):
                draft.changes |= with_other_path(section, "train", index, f"{draft.name}/{file}")
            draft.about = ", ".join(wanted.fixes)
        return {"etag": draft.etag, "before": done["before"], "after": done["after"], "changed": done["changed"]}

    @router.post("/{name:path}/data/rows", status_code=201)
    async def rows(name: str, wanted: Rows) -> dict[str, Any]:
        """Drop rows of a source, or change one, as a new version."""
        project = workspace.project(name)
        edit = wanted.edit
        async with drafted(project, "edited" if edit else "dropped", wanted.etag) as draft:
            section, file = recipes.read(project).values["data"], f"{wanted.part}-{wanted.source}.jsonl"
            draft.changes = with_other_path(section, wanted.part, wanted.source, f"{draft.name}/{file}")
            count = await ui.soon.call(
                work.revised, str(project.recipe), wanted.part, wanted.source, wanted.drop,
                None if edit is None else edit.model_dump(), str(draft.folder / file),
            )  # fmt: skip
            touched = [*(row for _, row in wanted.drop), *([edit.row] if edit else ())]
            draft.about = ", ".join(map(str, touched[:5])) + ("…" if len(touched) > 5 else "")
        return {"etag": draft.etag, "rows": count}

    @router.post("/{name:path}/data/split", status_code=201)
    async def split(name: str, wanted: Shares) -> dict[str, Any]:
        """Divide and mix the rows otherwise, as a new version; parts that have files of their own keep them."""
        project = workspace.project(name)
        section = recipes.read(project).values["data"]
        changes: dict[str, Any] = {}
        for part in ("validation", "test"):
            if not isinstance(section.get(part), list | str | dict):
                changes[f"data.{part}"] = getattr(wanted, part)
        if wanted.keep_together != section.get("keep_together", "near"):
            changes["data.keep_together"] = wanted.keep_together
        changes |= _weights(section["train"], wanted.weights)
        async with drafted(project, "split", wanted.etag) as draft:
            draft.changes = changes
        return {"etag": draft.etag}

    @router.post("/{name:path}/data/versions/{number}", status_code=201)
    def back(name: str, number: int, wanted: Sent) -> dict[str, Any]:
        """Go back (or forth) to a version."""
        return {"etag": go_back(workspace.project(name), number, wanted.etag)}

    return router


def _weights(train: Any, weights: list[float]) -> dict[str, Any]:
    if not weights:
        return {}
    sources = train if isinstance(train, list) else [train]
    if len(weights) != len(sources):
        raise UiError(f"There are {len(sources)} sources, and {len(weights)} weights.", "Reload the page.", status=409)
    changes: dict[str, Any] = {}
    for index, weight in enumerate(weights):
        source, name = source_at({"train": train}, "train", index)
        written = source.get("weight", 1.0) if isinstance(source, dict) else 1.0
        if weight == written:
            continue
        if isinstance(source, dict):
            changes[f"{name}.weight"] = None if weight == 1 else weight
        else:
            changes[name] = {"path": source, "weight": weight}
    return changes
