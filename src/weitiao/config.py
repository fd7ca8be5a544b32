"""The base class of every section of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A section of the recipe: typed, bounded, and closed to unknown keys.

    The docstring under each field is its description in the JSON Schema, in `weitiao schema` and in the docs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def as_list(value: Any) -> Any:
    """A single value of a list, written alone, as a list of one."""
    return [value] if isinstance(value, (str, dict)) else value


def type_of(default: str) -> Callable[[Any], str]:
    """What tells the forms of a section apart: its `type`, and `own` for a class in a file (`FILE.py:CLASS`).

    Args:
        default: The type of a section that names none.
    """

    def find(section: Any) -> str:
        name = section.get("type", default) if isinstance(section, dict) else getattr(section, "type", default)
        return "own" if isinstance(name, str) and ".py:" in name else str(name)

    return find
