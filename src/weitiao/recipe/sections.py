"""The recipe sections `run` and `tournament`: where `weitiao run` stops, and what `weitiao methods` tries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from weitiao.config import Config
from weitiao.methods.config import MethodConfig
from weitiao.models.quantization import Quantization
from weitiao.training.optimizer import OptimizerConfig


class RunConfig(Config):
    """What `weitiao run` does when a step finds that there is nothing to train on, or nothing to train for."""

    on_findings: Literal["stop", "continue"] = "stop"
    """Whether findings of severity error in the data end the run, before anything is computed from them."""

    on_advice: Literal["stop", "continue"] = "stop"
    """Whether the run ends, without training, when the baseline shows that prompting suffices."""


_USUAL: tuple[dict[str, Any], ...] = (
    {"type": "lora"}, {"type": "full"}, {"type": "freeze"}, {"type": "bitfit"}, {"type": "adapter"},
    {"type": "peft", "tuner": "ia3"},
)  # fmt: skip


class EntryConfig(Config):
    """A method that takes part, with the learning rates that it is tried with."""

    name: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """What the table and the folders call it; its type, or PEFT's name of it, when not given."""

    method: MethodConfig
    """Written like the section `method`."""

    quantization: Quantization | None = None
    """How the base is rounded for it: QLoRA is `{method: {type: lora}, quantization: nf4}`. The recipe's, if None."""

    optimizer: OptimizerConfig | None = None
    """Written like the section `optimizer`: LOMO is `{method: {type: full}, optimizer: {type: lomo}}`. The recipe's, if
    None."""

    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Learning rates to try; without any, the usual one of the method times `tournament.rates`."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or str(getattr(self.method, "tuner", None) or self.method.type)

    @property
    def usual_learning_rate(self) -> float | None:
        """That of the method; None of one that a user wrote."""
        return getattr(self.method, "usual_learning_rate", None)


class TournamentConfig(Config):
    """Which methods are tried on the recipe's data, and how long."""

    methods: tuple[EntryConfig, ...] = ()
    """What takes part: `{method: {type: lora}}` and the like. Without any: lora, full, freeze, bitfit, adapter, ia3."""

    rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.3, 1.0, 3.0), min_length=1)
    """Learning rates of a method that names none, as multiples of its usual one."""

    rows: int = Field(default=1000, ge=1)
    """Training rows that each cell of the last rung learns from; counted again where they come again."""

    sample: int = Field(default=200, ge=1)
    """Validation rows that every cell answers, chosen by `train.seed`."""

    rungs: int = Field(default=2, ge=1, le=6)
    """Rounds: after each but the last, the worse cells are out."""

    cut: int = Field(default=3, ge=2)
    """A rung has this fraction (1/3) of the rows of the next, and this fraction of its cells goes on."""

    @property
    def entries(self) -> tuple[EntryConfig, ...]:
        """What takes part, the usual methods where none is named."""
        return self.methods or tuple(EntryConfig.model_validate({"method": one}) for one in _USUAL)

    @model_validator(mode="after")
    def _each_once(self) -> TournamentConfig:
        names = [one.title for one in self.methods]
        if len(set(names)) < len(names):
            raise ValueError("two methods have the same name; give each a `name`")
        return self
