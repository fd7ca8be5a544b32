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
        value = parse_yaml(text, f"command line: `{override}`")
        place: Any = values
        for depth in range(1, len(keys)):
            place = _below(place, keys[:depth])
        _set(place, keys, value)


def _below(place: Any, keys: Sequence[str]) -> Any:
    """The section (or the list) of this name, made where there is none."""
    found = _get(place, keys)
    if isinstance(found, dict | list):
        return found
    name = ".".join(keys)
    if found is None:
        found = CommentedMap()
    elif isinstance(found, str) and name in _SHORT_FOR:
        found = CommentedMap({_SHORT_FOR[name]: found})
    else:
        raise RecipeError(f"command line: `{name}` holds {found!r}, nothing below it can be set.", _nothing_below(name))
    _set(place, keys, found)
    return found


def _nothing_below(name: str) -> str:
    return f"Give all of it: {name}='{{...}}'; `weitiao schema` lists what is allowed."


def _get(place: Any, keys: Sequence[str]) -> Any:
    return place.get(keys[-1]) if isinstance(place, dict) else place[_index(place, keys)]


def _set(place: Any, keys: Sequence[str], value: Any) -> None:
    place[keys[-1] if isinstance(place, dict) else _index(place, keys)] = value


def _index(place: CommentedSeq, keys: Sequence[str]) -> int:
    name, number = ".".join(keys[:-1]), keys[-1]
    if not (number.isascii() and number.isdigit() and int(number) < len(place)):
        raise RecipeError(
            f"command line: `{name}` is a list of {len(place)}, it has no `{number}`.",
            f"Name an item by its place from 0: {name}.0" if place else f"Give all of it: {name}=[...]",
        )
    return int(number)
