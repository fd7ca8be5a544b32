"""The recipe of a project, read and changed: it keeps its comments, and no change overwrites one that was not seen."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from weitiao.errors import RecipeError, WeitiaoError
from weitiao.files import in_one_step, writable
from weitiao.paths import read_text
from weitiao.ui.problems import UiError
from weitiao.ui.workspace import Project
from weitiao.yaml_text import edited_yaml, parse_yaml


@dataclass(frozen=True, slots=True)
class ReadRecipe:
    """A recipe as it stands in its file.

    Attributes:
        values: What is written there, as plain values; settings that are not written are not in it.
        text: The file.
        etag: Changes with the text; to be given back with a change.
    """

    values: dict[str, Any]
    text: str
    etag: str

    def get(self, name: str, default: Any = None) -> Any:
        """What is written under a dotted name."""
        place: Any = self.values
        for key in name.split("."):
            if not isinstance(place, dict) or key not in place:
                return default
            place = place[key]
        return place


def read(project: Project) -> ReadRecipe:
    """The recipe of a project.

    Raises:
        RecipeError: It cannot be read, or is not YAML.
    """
    text = read_text(project.recipe, RecipeError)
    values = parse_yaml(text, str(project.recipe))
    if not isinstance(values, dict):
        raise RecipeError(f"{project.recipe} is not a recipe: it holds no sections.", "Write `model:` and `data:`.")
    return ReadRecipe(values, text, _etag(text))


def begin(project: Project, model: str) -> None:
    """Write the recipe that a project begins with: its model, to which the data are still to come.

    Raises:
        UiError: There is one.
    """
    from weitiao.study.init.content import scalar

    with writable(project.path, "The recipe"):
        try:
            with project.recipe.open("x", encoding="utf-8") as file:
                file.write(f"model: {scalar(model)}\n")
        except FileExistsError as error:
            what = f"{project.name} is there already."
            raise UiError(what, "Choose another name.", status=409, field="name") from error


def change(
    project: Project,
    changes: Mapping[str, Any],
    etag: str,
    *,
    none: Collection[str] = (),
    first: Callable[[dict[str, Any]], None] = lambda _: None,
) -> str:
    """Set settings in the recipe of a project, all of them or, where one cannot be used, none.

    Args:
        project: Whose.
        changes: Dotted names to values; None takes a setting out, so that its default counts.
        etag: That of the recipe that the changes were made for.
        none: Dotted names of settings that are to hold nothing, where that is not their default.
        first: Is called with the new values when they are known to be good, before anybody sees them; nothing changes
            where it fails.

    Returns:
        The new etag.

    Raises:
        UiError: The recipe is not the one of `etag` any more (409).
        WeitiaoError: A value cannot be used, or the file cannot be written. The file is as it was.
    """
    from weitiao.recipe.overrides import set_setting, take_out

    def edit(values: Any) -> None:
        for name, value in changes.items():
            if value is None:
                take_out(values, name)
            else:
                set_setting(values, name, value, str(project.recipe))
        for name in none:
            set_setting(values, name, None, str(project.recipe))

    with _taken(project):
        found = read(project)
        if found.etag != etag:
            raise changed_meanwhile()
        text = edited_yaml(found.text, str(project.recipe), edit) if changes or none else found.text
        _write(project, text, first)
    return _etag(text)


def replace(project: Project, text: str, etag: str) -> str:
    """Put a whole text in the place of the recipe of a project; all else is as for `change`."""
    with _taken(project):
        if read(project).etag != etag:
            raise changed_meanwhile()
        _write(project, text)
    return _etag(text)


def changed_meanwhile() -> UiError:
    """What is told to who changes a recipe that is not there any more."""
    remedy = "Reload the page to see it; what is typed here stays."
    return UiError("The recipe was changed by somebody else meanwhile.", remedy, status=409)


def _write(project: Project, text: str, first: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
    from weitiao.recipe.stages import load_work

    with writable(project.path, "The recipe"), in_one_step(project.recipe) as beside:
        try:
            beside.write_text(text, encoding="utf-8")
            load_work(beside)
            first(parse_yaml(text, str(project.recipe)))
        except WeitiaoError as error:
            beside.unlink()
            raise RecipeError(error.what.replace(str(beside), str(project.recipe)), error.remedy) from error
        except OSError:
            beside.unlink(missing_ok=True)
            raise


@contextmanager
def _taken(project: Project) -> Iterator[None]:
    """One change after the other, also where two servers show a folder."""
    descriptor = os.open(project.path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _etag(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
