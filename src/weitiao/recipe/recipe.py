"""The recipe: one YAML file that says everything about a piece of work.

Every package owns its section; here they are only put together, read, overridden and checked.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, Tag, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from weitiao.baseline.config import BaselineConfig
from weitiao.config import Config
from weitiao.console import quoted
from weitiao.data.config import DataConfig
from weitiao.data.reading.paths import resolve_paths
from weitiao.errors import RecipeError
from weitiao.evaluation.borders import VerdictConfig
from weitiao.evaluation.config import EvaluationConfig
from weitiao.files import in_one_step
from weitiao.methods.base import find_moved
from weitiao.methods.config import MethodConfig
from weitiao.methods.lora import LoraConfig
from weitiao.models.config import ModelConfig
from weitiao.objectives.config import ObjectiveConfig, SftConfig
from weitiao.paths import exists, find_path, user_path
from weitiao.recipe.feedback import FeedbackConfig
from weitiao.recipe.overrides import apply_overrides, name_of
from weitiao.recipe.sections import RunConfig, TournamentConfig
from weitiao.rendering.config import RenderingConfig
from weitiao.retention.config import RetentionConfig
from weitiao.rollouts.config import RolloutsConfig
from weitiao.training.config import TrainConfig
from weitiao.training.optimizer import AdamWConfig, OptimizerConfig
from weitiao.user_code import OwnConfig
from weitiao.yaml_text import read_yaml

MOVED = {"weight_decay": "optimizer", "betas": "optimizer", "epsilon": "optimizer", "fused": "method"}
"""Settings that `train` had, and the section that has them now."""

REMOVED = {
    "train.workers": "Remove it: portions are computed one after the other, which is as fast.",
    "retention.tasks": "Remove it: `weitiao compare base:RUN RUN --data FILE` compares the models on rows of your own.",
}
"""Settings of before, with what to do about one that a recipe still names."""

_TEXT_EXPECTED = frozenset(("string_type", "path_type"))


class Recipe(Config):
    """All sections. Only `model` and `data` have to be written."""

    model: ModelConfig
    """The base model."""

    data: DataConfig
    """Training, validation and test data."""

    rendering: RenderingConfig = Field(default_factory=RenderingConfig)
    """How examples become tokens."""

    method: MethodConfig = Field(default_factory=LoraConfig)
    """Which parameters learn."""

    objective: ObjectiveConfig = Field(default_factory=SftConfig)
    """What is learned."""

    rollouts: RolloutsConfig = Field(default_factory=RolloutsConfig)
    """Answers of the model itself, for objectives that learn from them."""

    feedback: FeedbackConfig | None = None
    """Judged answers to the prompts of the rows, which take the rows' place."""

    optimizer: OptimizerConfig = Field(default_factory=AdamWConfig)
    """How gradients become steps."""

    train: TrainConfig = Field(default_factory=TrainConfig)
    """The loop."""

    evaluate: EvaluationConfig = Field(default_factory=EvaluationConfig)
    """How the tuned model is tested."""

    baseline: BaselineConfig = Field(default_factory=BaselineConfig)
    """How far prompting goes without tuning."""

    retention: RetentionConfig = Field(default_factory=RetentionConfig)
    """What is measured outside the task, before and after."""

    verdict: VerdictConfig = Field(default_factory=VerdictConfig)
    """What the tuned model has to reach."""

    run: RunConfig = Field(default_factory=RunConfig)
    """Where `weitiao run` stops early."""

    tournament: TournamentConfig = Field(default_factory=TournamentConfig)
    """What `weitiao methods` tries."""

    run_dir: Path | None = None
    """Where everything that the run produces goes; `runs/NAME` of the recipe's file name when not given."""

    @model_validator(mode="after")
    def _learn_as_fast_as_usual(self) -> Recipe:
        """Where the recipe names no learning rate, the usual one of its method."""
        usual = getattr(self.method, "usual_learning_rate", None)
        if usual is not None and "learning_rate" not in self.train.model_fields_set:
            train = self.train.model_copy(update={"learning_rate": usual})
            self.__dict__["train"] = train  # it is frozen for everyone else
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> Recipe:
        if self.objective.type == "reward" and self.method.type == "adapter":
            raise ValueError("objective: reward is saved as transformers and PEFT read it, and method: adapter is not")
        if self.rendering.train_on_prompt and self.objective.rows().record in ("pair", "mark"):
            raise ValueError(
                "`rendering.train_on_prompt`: where answers are compared or judged, prompts are not learned"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _take_moved(cls, values: Any) -> Any:
        """Settings that earlier versions had in `train`, in their sections of today."""
        train = values.get("train") if isinstance(values, dict) else None
        if not isinstance(train, dict) or not (moved := MOVED.keys() & train.keys()):
            return values
        values = {**values, "train": {key: value for key, value in train.items() if key not in moved}}
        for name in moved:
            section = values.get(MOVED[name])
            if section is None or isinstance(section, dict):
                values[MOVED[name]] = {name: train[name], **(section or {})}
        return values


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
            f"There is no recipe {path}.", "Check the path; `weitiao schema` describes what a recipe holds."
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


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe. `run_dir` is left out: it is where the file lies, also when it is copied."""
    values = recipe.model_dump(mode="json", exclude={"run_dir"})
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    with in_one_step(path) as beside, beside.open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def differences(a: Recipe, b: Recipe, *, ignore: Sequence[str] = ()) -> list[str]:
    """Dotted names of the settings in which two recipes differ."""
    return [name for name in _differing(a.model_dump(mode="json"), b.model_dump(mode="json")) if name not in ignore]


def _differing(a: Any, b: Any, name: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = dict.fromkeys([*a, *b])
        return [d for key in keys for d in _differing(a.get(key), b.get(key), f"{name}.{key}".lstrip("."))]
    return [] if a == b else [name]


def _read_yaml(path: Path) -> CommentedMap:
    values = read_yaml(path, places=True)
    if not isinstance(values, CommentedMap):
        raise RecipeError(f"{path} is not a recipe: it holds no sections.", "Write `model:` and `data:` at least.")
    return values


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
        more = f" ({len(problems) - len(alike)} more problems)" if len(problems) > len(alike) else ""
        if first["type"] == "extra_forbidden":
            what, remedy = f"unknown key `{name}`", _nearest(place, first["loc"])
        elif first["type"] == "missing":
            what, remedy = f"`{name}` is missing", "Add it to the recipe."
        else:
            messages = dict.fromkeys(one["msg"].removeprefix("Value error, ") for one in alike)
            message = " or: ".join(" ".join(one.split()) for one in messages)
            given = f", not {first['input']!r}" if isinstance(first["input"], str | int | float | bool) else ""
            what, remedy = f"`{name}`: {message}{given}", "Correct the value; `weitiao schema` lists what is allowed."
            if first["type"] in _TEXT_EXPECTED and isinstance(first["input"], bool | int | float):
                remedy = "If it is meant as text, put it in quotes: 'text'."
        raise RecipeError(f"{_where(name, line, path, overrides)}: {what}{more}.", remedy) from error


def _where(name: str, line: int | None, path: Path, overrides: Sequence[str]) -> str:
    """file:line, or the command line."""
    names = [name_of(override) for override in overrides]
    inside = any(f"{name}.".startswith(f"{one}.") for one in names)
    if inside or (line is None and any(one.startswith(f"{name}.") for one in names)):
        return "command line"
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
        return f"Did you mean `{close[0]}`?"
    elsewhere = [
        f"{name}.{place[-1]}"
        for name, field in Recipe.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        and place[-1] in field.annotation.model_fields
    ]  # fmt: skip
    return f"Did you mean `{elsewhere[0]}`?" if elsewhere else f"Known keys: {', '.join(known)}."


def _forms(annotation: Any) -> dict[Any, Any]:
    """The forms of a section that has several, by the `type` that tells them apart."""
    forms = [get_args(form) for form in get_args(annotation) if get_origin(form) is Annotated]
    return {tag.tag: form for form, *tags in forms for tag in tags if isinstance(tag, Tag)}


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
