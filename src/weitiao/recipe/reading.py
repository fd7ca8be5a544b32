"""From a file, a run directory or Python values to a recipe whose paths are absolute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from weitiao.console import quoted
from weitiao.data.reading.paths import resolve_paths
from weitiao.errors import Phrase, RecipeError
from weitiao.methods.base import find_moved
from weitiao.models.config import ModelConfig
from weitiao.paths import exists, find_path, user_path
from weitiao.recipe.overrides import apply_overrides
from weitiao.recipe.problems import REMOVED, validated
from weitiao.recipe.recipe import Recipe
from weitiao.user_code import OwnConfig
from weitiao.yaml_text import read_yaml


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or that of a run directory.

    Args:
        path: A YAML file, or a run directory.
        overrides: `section.key=value`, as on the command line; values are read as YAML.

    Returns:
        The recipe, with paths made absolute and `run_dir` set.

    Raises:
        RecipeError: The file or an override cannot be used. The message names file, line and the nearest known key.
    """
    values, path, run_dir = read_values(path, overrides)
    if "stages" in values:
        raise RecipeError(
            f"{path} has several stages, each of which is a recipe.", f"Do them with: weitiao run {quoted(path)}"
        )
    return recipe_in(values, path, run_dir, overrides)


def recipe_in(values: CommentedMap, path: Path, run_dir: Path | None, overrides: Sequence[str]) -> Recipe:
    """The recipe that `read_values` has read."""
    recipe = recipe_of(values, path, run_dir, overrides=overrides)
    if run_dir is not None:  # run and model may have been moved together
        recipe = recipe.model_copy(update={"model": find_moved(recipe.model, run_dir / "final")})
    return recipe


def read_values(path: Path, overrides: Sequence[str]) -> tuple[CommentedMap, Path, Path | None]:
    """What a recipe file holds, overrides applied; the file; and the run directory, if `path` is one.

    Raises:
        RecipeError: The file or an override cannot be used.
    """
    run_dir, path = None, user_path(path)
    if is_run := exists(path) and path.is_dir():
        run_dir, path = path, path / "recipe.yaml"
    if not (exists(path) and path.is_file()):
        raise RecipeError(
            Phrase("There is no recipe {path}.", path=path),
            "Check the path; `weitiao schema` describes what a recipe holds.",
        )
    values = _read_yaml(path)
    if is_run or (path.name == "recipe.yaml" and (path.parent / "environment.json").is_file()):
        take_earlier(values)
    apply_overrides(values, overrides)
    return values, path, run_dir


def recipe_of(
    values: dict[str, Any],
    path: Path,
    run_dir: Path | None,
    *,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
) -> Recipe:
    """A recipe from the values of a file.

    Args:
        values: With overrides applied.
        path: The file.
        run_dir: Where everything goes; as the recipe says, when None.
        overrides: For the messages.
        folders: Where what it names is looked up first, before the file's folder and the current one.

    Raises:
        RecipeError: A value cannot be used.
    """
    recipe = validated(values, path, overrides)
    run_dir = run_dir or user_path(recipe.run_dir or Path("runs") / path.stem)
    return _located(recipe, [*folders, path.parent.resolve(), Path.cwd()]).model_copy(update={"run_dir": run_dir})


def recipe_from_dict(values: dict[str, Any], base: Path | None = None) -> Recipe:
    """A recipe from Python values; relative paths are looked up in `base`, then in the current directory.

    Raises:
        RecipeError: A value cannot be used.
    """
    recipe = validated(values, Path("recipe"), ())
    return _located(recipe, [*([base.resolve()] if base else []), Path.cwd()])


def take_earlier(values: Any) -> None:
    """Bring the values of a run's own recipe up to date: an earlier version wrote down every setting that it had."""
    data = values.get("data") if isinstance(values, dict) else None
    if isinstance(data, dict):  # it was split without regard to almost equal inputs; its test rows stay its own
        data.setdefault("keep_together", "same")
    for section, _, name in (removed.partition(".") for removed in REMOVED):
        if isinstance(values, dict) and isinstance(found := values.get(section), dict):
            found.pop(name, None)


def _read_yaml(path: Path) -> CommentedMap:
    values = read_yaml(path, places=True)
    if not isinstance(values, CommentedMap):
        raise RecipeError(f"{path} is not a recipe: it holds no sections.", "Write `model:` and `data:` at least.")
    return values


def _located(recipe: Recipe, folders: Sequence[Path]) -> Recipe:
    """The recipe with all that it names on this machine looked up in the same folders, and made absolute."""

    def model(config: ModelConfig) -> ModelConfig:
        return config.model_copy(update={"name": str(find_path(config.name, folders) or config.name)})

    models = tuple(map(model, recipe.baseline.models))

    def located(method: Any) -> Any:
        found: Any = method.located(folders) if isinstance(method, OwnConfig) else method
        start = {} if found.start is None else {"start": str(find_path(found.start, folders) or found.start)}
        return found.model_copy(update=start)

    entries = tuple(one.model_copy(update={"method": located(one.method)}) for one in recipe.tournament.methods)
    update = {
        "data": resolve_paths(recipe.data, folders),
        "model": model(recipe.model),
        "rendering": recipe.rendering.located(folders),
        "baseline": recipe.baseline.model_copy(update={"models": models}),
        "evaluate": recipe.evaluate.located(folders),
        "method": located(recipe.method),
        "rollouts": recipe.rollouts.located(folders),
        "feedback": recipe.feedback and recipe.feedback.located(folders),
        "tournament": recipe.tournament.model_copy(update={"methods": entries}),
        "objective": recipe.objective.located(folders),
    }
    return recipe.model_copy(update=update)
