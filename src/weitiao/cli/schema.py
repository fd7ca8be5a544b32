"""`weitiao schema`."""

from __future__ import annotations

from typing import Annotated

import typer

from weitiao.cli.console import print_json


def schema(
    section: Annotated[str | None, typer.Argument(help="A section of the recipe, for instance `train`.")] = None,
) -> None:
    """Print the JSON Schema of a recipe, for editors and programs: every setting, its type, default and meaning.

    Examples:

        weitiao schema

        weitiao schema train

        weitiao schema > recipe.schema.json
    """
    from weitiao.recipe.schema import recipe_schema

    print_json(recipe_schema(section), indent=2)
