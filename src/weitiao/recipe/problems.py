"""What is wrong with the values of a recipe: in which line, and which key or value was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from weitiao.errors import Phrase, RecipeError, joined
from weitiao.recipe.overrides import name_of
from weitiao.recipe.recipe import Recipe

REMOVED = {
    "train.workers": "Remove it: portions are computed one after the other, which is as fast.",
    "retention.tasks": "Remove it: `weitiao compare base:RUN RUN --data FILE` compares the models on rows of your own.",
}
"""Settings of before, with what to do about one that a recipe still names."""

_TEXT_EXPECTED = frozenset(("string_type", "path_type"))


def validated(values: Any, path: Path, overrides: Sequence[str]) -> Recipe:
    """The recipe that values are, before what it names is looked up.

    Raises:
        RecipeError: A value cannot be used; the message names the place in the file.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        first = problems[0]
        place, line = _locate(values, first["loc"])
        name = ".".join(place) or "recipe"
        # Each form that a setting may have complains of its own.
        alike = [one for one in problems if _locate(values, one["loc"])[0] == place]
        further = len(problems) - len(alike)
        more = Phrase(" ({number} more problems)", number=further) if further else ""
        if first["type"] == "extra_forbidden":
            what, remedy = Phrase("unknown key `{name}`", name=name), _nearest(place, first["loc"])
        elif first["type"] == "missing":
            what, remedy = Phrase("`{name}` is missing", name=name), "Add it to the recipe."
        else:
            messages = dict.fromkeys(one["msg"].removeprefix("Value error, ") for one in alike)
            told = [Phrase(" ".join(one.split())) for one in messages]
            message = joined(told, "{one} or: {other}")
            is_short = isinstance(first["input"], str | int | float | bool)
            given = Phrase(", not {value!r}", value=first["input"]) if is_short else ""
            what = Phrase("`{name}`: {message}{given}", name=name, message=message, given=given)
            remedy = "Correct the value; `weitiao schema` lists what is allowed."
            if first["type"] in _TEXT_EXPECTED and isinstance(first["input"], bool | int | float):
                remedy = "If it is meant as text, put it in quotes: 'text'."
        where = _where(name, line, path, overrides)
        raise RecipeError(Phrase("{where}: {what}{more}.", where=where, what=what, more=more), remedy) from error


def _where(name: str, line: int | None, path: Path, overrides: Sequence[str]) -> str:
    """file:line, or the command line."""
    names = [name_of(override) for override in overrides]
    inside = any(f"{name}.".startswith(f"{one}.") for one in names)
    if inside or (line is None and any(one.startswith(f"{name}.") for one in names)):
        return Phrase("command line")
    return f"{path}:{line}" if line is not None else str(path)


def _locate(values: Any, loc: Sequence[str | int]) -> tuple[list[str], int | None]:
    """A setting's place as the user wrote it, without pydantic's names of the forms that were tried; and its line."""
    place: list[str] = []
    line, node = None, values
    for number, part in enumerate(loc, start=1):
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            known = True
        elif isinstance(node, dict):
            known = part in node
        else:
            continue
        if known:
            line = _line(node, part) or line
            node = node[part]
            place.append(str(part))
        elif number == len(loc):
            place.append(str(part))
    return place, line


def _line(node: Any, part: Any) -> int | None:
    """The line of a key or an item in the file; None for what an override put there."""
    if not isinstance(node, CommentedMap | CommentedSeq):
        return None
    return int(node.lc.data[part][0]) + 1 if node.lc.data and part in node.lc.data else None


def _nearest(place: Sequence[Any], loc: Sequence[str | int]) -> str:
    """A hint at the known key nearest to an unknown one.

    Args:
        place: As the user wrote it.
        loc: As pydantic names it, with the form of a section that has several.
    """
    section: Any = Recipe
    for part in loc[:-1]:
        if isinstance(section, type) and issubclass(section, BaseModel):
            field = section.model_fields.get(str(part))
            section = field.annotation if field is not None else None
        else:
            section = _forms(section).get(part)
    if (removed := ".".join(map(str, place))) in REMOVED:
        return REMOVED[removed]
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return "Remove it; `weitiao schema` lists the known keys."
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.6)
    if close:
        return Phrase("Did you mean `{name}`?", name=close[0])
    elsewhere = [
        f"{name}.{place[-1]}"
        for name, field in Recipe.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        and place[-1] in field.annotation.model_fields
    ]  # fmt: skip
    if elsewhere:
        return Phrase("Did you mean `{name}`?", name=elsewhere[0])
    return Phrase("Known keys: {names}.", names=", ".join(known))


def _forms(annotation: Any) -> dict[Any, Any]:
    """The forms of a section that has several, by the `type` that tells them apart."""
    forms = [get_args(form) for form in get_args(annotation) if get_origin(form) is Annotated]
    return {tag.tag: form for form, *tags in forms for tag in tags if isinstance(tag, Tag)}
