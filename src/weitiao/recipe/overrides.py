"""Settings on the command line: `section.key=value`, the value in YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from weitiao.errors import RecipeError
from weitiao.yaml_text import parse_yaml

_SHORT_FOR = {"model": "name", **dict.fromkeys(("data.train", "data.validation", "data.test"), "path")}
"""Sections that may be written as one text, and which of their settings it is."""


def name_of(override: str) -> str:
    """The dotted name of the setting that an override sets."""
    return override.partition("=")[0].strip()


def apply_overrides(values: CommentedMap, overrides: Sequence[str]) -> None:
    """Put settings into the values of a recipe.

    Args:
        values: The recipe as it was read; changed in place.
        overrides: `section.key=value`; a number names an item of a list (`data.train.0.limit=5`), an empty value is
            null.

    Raises:
        RecipeError: One of them is no setting, cannot be read, or is given twice.
    """
    for name in map(name_of, overrides):
        if not name.isprintable():
            raise RecipeError(f"{name!r} is no name of a setting.", "Write section.key=value, in one line.")
    for name, count in Counter(map(name_of, overrides)).items():
        if count > 1:
            raise RecipeError(f"command line: `{name}` is given {count} times.", "Give it once.")
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            shown = " ".join(override.split())
            raise RecipeError(f"`{shown}` is no override.", "Write section.key=value, for instance train.epochs=1.")
        set_setting(values, name.strip(), parse_yaml(text, f"command line: `{override}`"), "command line")


def set_setting(values: CommentedMap, name: str, value: Any, where: str) -> None:
    """Put one setting into the values of a recipe.

    Args:
        values: Changed in place.
        name: Dotted, as for `apply_overrides`.
        value: What it shall hold.
        where: What errors call the place that asks for it.

    Raises:
        RecipeError: Nothing can be set under that name.
    """
    keys = name.split(".")
    place: Any = values
    for depth in range(1, len(keys)):
        place = _below(place, keys[:depth], where)
    _set(place, keys, value, where)


def take_out(values: CommentedMap, name: str) -> None:
    """Take a setting out of the values of a recipe, so that its default counts; nothing where it is not written."""
    *sections, last = name.split(".")
    place: Any = values
    for key in sections:
        place = place.get(key) if isinstance(place, dict) else None
    if isinstance(place, dict):
        place.pop(last, None)


def _below(place: Any, keys: Sequence[str], where: str) -> Any:
    """The section (or the list) of this name, made where there is none."""
    found = _get(place, keys, where)
    if isinstance(found, dict | list):
        return found
    name = ".".join(keys)
    if found is None:
        found = CommentedMap()
    elif isinstance(found, str) and name in _SHORT_FOR:
        found = CommentedMap({_SHORT_FOR[name]: found})
    else:
        raise RecipeError(f"{where}: `{name}` holds {found!r}, nothing below it can be set.", _nothing_below(name))
    _set(place, keys, found, where)
    return found


def _nothing_below(name: str) -> str:
    return f"Give all of it: {name}='{{...}}'; `weitiao schema` lists what is allowed."


def _get(place: Any, keys: Sequence[str], where: str) -> Any:
    return place.get(keys[-1]) if isinstance(place, dict) else place[_index(place, keys, where)]


def _set(place: Any, keys: Sequence[str], value: Any, where: str) -> None:
    place[keys[-1] if isinstance(place, dict) else _index(place, keys, where)] = value


def _index(place: CommentedSeq, keys: Sequence[str], where: str) -> int:
    name, number = ".".join(keys[:-1]), keys[-1]
    if not (number.isascii() and number.isdigit() and int(number) < len(place)):
        raise RecipeError(
            f"{where}: `{name}` is a list of {len(place)}, it has no `{number}`.",
            f"Name an item by its place from 0: {name}.0" if place else f"Give all of it: {name}=[...]",
        )
    return int(number)
