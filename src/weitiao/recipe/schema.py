"""`weitiao schema`: what a recipe may hold, as JSON Schema."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import TypeAdapter

from weitiao.errors import RecipeError
from weitiao.recipe import Recipe


def recipe_schema(section: str | None = None) -> dict[str, Any]:
    """The JSON Schema of a recipe, or of one section of it; descriptions come from the fields' docstrings.

    Args:
        section: A section's name; None for the whole recipe.

    Raises:
        RecipeError: There is no such section.
    """
    if section is None:
        return Recipe.model_json_schema()
    if section not in Recipe.model_fields:
        known = list(Recipe.model_fields)
        close = difflib.get_close_matches(section, known, n=1, cutoff=0.5)
        raise RecipeError(
            f"A recipe has no section `{section}`.",
            f"Did you mean `{close[0]}`?" if close else f"Sections: {', '.join(known)}.",
        )
    annotation: Any = Recipe.model_fields[section].annotation
    schema: dict[str, Any] = TypeAdapter(annotation).json_schema()
    return schema
