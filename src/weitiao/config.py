"""The base class of every section of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A section of the recipe: typed, bounded, and closed to unknown keys.

    The docstring under each field is its description in the JSON Schema, in `weitiao schema` and in the docs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
