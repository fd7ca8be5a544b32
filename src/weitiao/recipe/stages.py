"""A recipe with `stages`: several recipes in one file, each of which begins where earlier ones ended.

What stands beside `stages` holds for all of them; a stage names what it has otherwise. Its run directory lies in that
of the recipe, under its name, and by its name later stages mean what it left: `method: {start: sft}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weitiao.errors import RecipeError
from weitiao.paths import user_path
from weitiao.recipe.problems import validated
from weitiao.recipe.reading import read_values, recipe_in, recipe_of
from weitiao.recipe.recipe import Recipe

STAGES = "stages"
_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class StagedRecipe:
    """The recipes of a file, in the order in which they are done.

    Attributes:
        path: The file.
        run_dir: What the run directories of the stages lie in.
        stages: The settings of each stage, by its name.
    """

    path: Path
    run_dir: Path
    stages: Mapping[str, dict[str, Any]]

    def recipe(self, name: str) -> Recipe:
        """The recipe of a stage; what earlier stages leave is looked up, so it has to be there.

        Raises:
            WeitiaoError: A setting cannot be used, or something that it names is not there.
        """
        return recipe_of(self.stages[name], self.path, self.run_dir / name, folders=[self.run_dir])


def load_work(path: Path, overrides: Sequence[str] = ()) -> StagedRecipe | Recipe:
    """Read a recipe; of one with stages, check the settings of all.

    Args:
        path: A YAML file, or a run directory.
        overrides: As for `load_recipe`; `stages.NAME.section.key=value` sets what one stage has otherwise.

    Returns:
        The recipe, or those of its stages.

    Raises:
        RecipeError: The file or a setting cannot be used. The message names the stage.
    """
    values, path, run_dir = read_values(path, overrides)
    if STAGES not in values:
        return recipe_in(values, path, run_dir, overrides)
    stages = values.pop(STAGES)
    if not (isinstance(stages, dict) and stages):
        raise RecipeError(f"{path}: `{STAGES}` holds no stages.", "Write a name for each, and its settings below it.")
    found = {}
    for name, own in stages.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(own, dict | None)):
            raise RecipeError(
                f"{path}: `{STAGES}.{name}` is no stage.", "Give it a name of letters and digits, and sections."
            )
        found[name] = _merged(values, own or {})
        checked = validated(found[name], Path(f"{path}, stage {name}"), overrides)
        run_dir = run_dir or user_path(checked.run_dir or Path("runs") / path.stem)
    assert run_dir is not None
    return StagedRecipe(path, run_dir, found)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others on top: sections are merged, unless `type` says that one is of another kind."""
    merged = dict(base)
    for key, value in own.items():
        there = base.get(key)
        if isinstance(value, dict) and isinstance(there, dict) and _one_kind(there, value):
            merged[key] = _merged(there, value)
        else:
            merged[key] = value
    return merged


def _one_kind(there: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    return bool(own.get("type", there.get("type")) == there.get("type", own.get("type")))
