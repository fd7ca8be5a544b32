"""The recipe: one YAML file that says everything about a piece of work.

Every package owns its section; here they are only put together, written and held against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from ruamel.yaml import YAML

from weitiao.baseline.config import BaselineConfig
from weitiao.config import Config
from weitiao.data.config import DataConfig
from weitiao.evaluation.borders import VerdictConfig
from weitiao.evaluation.config import EvaluationConfig
from weitiao.export.config import ExportConfig
from weitiao.files import in_one_step
from weitiao.methods.config import MethodConfig
from weitiao.methods.lora import LoraConfig
from weitiao.models.config import ModelConfig
from weitiao.objectives.config import ObjectiveConfig, SftConfig
from weitiao.recipe.feedback import FeedbackConfig
from weitiao.recipe.sections import RunConfig, TournamentConfig
from weitiao.rendering.config import RenderingConfig
from weitiao.retention.config import RetentionConfig
from weitiao.rollouts.config import RolloutsConfig
from weitiao.training.config import TrainConfig
from weitiao.training.optimizer import AdamWConfig, OptimizerConfig

MOVED = {"weight_decay": "optimizer", "betas": "optimizer", "epsilon": "optimizer", "fused": "method"}
"""Settings that `train` had, and the section that has them now."""


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

    export: ExportConfig = Field(default_factory=ExportConfig)
    """In which formats the tuned model goes live."""

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
        if self.rendering.train_on_prompt and self.objective.rows().record in ("pair", "mark", "step"):
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
