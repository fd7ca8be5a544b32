"""Every other tuner of PEFT, by PEFT's own name and settings: no code per method."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from weitiao.methods.method import MethodSettings, PeftMethod

if TYPE_CHECKING:
    import peft
    from transformers import PreTrainedModel

_OURS = {"task_type", "peft_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode"}


class PeftTunerConfig(MethodSettings):
    """A tuner of PEFT (`ia3`, `loha`, `oft`, `vera`, `ln_tuning` ...), with its own settings beside `tuner`."""

    model_config = ConfigDict(extra="allow")

    usual_learning_rate: ClassVar[float] = 1e-3

    type: Literal["peft"]
    """The method."""

    tuner: str
    """PEFT's name of it, in any case: https://huggingface.co/docs/peft has the settings of each."""

    @model_validator(mode="after")
    def _known(self) -> PeftTunerConfig:
        self.peft_config()
        return self

    def build(self) -> PeftTuner:
        """The method with these settings."""
        return PeftTuner(self)

    def peft_config(self) -> peft.PeftConfig:
        """PEFT's configuration.

        Raises:
            ValueError: There is no such tuner or setting, a value does not fit, or PEFT refuses their combination.
        """
        made = _config_class(self.tuner)
        hints = typing.get_type_hints(made)
        known = sorted({field.name for field in dataclasses.fields(made) if field.init} - _OURS)
        settings = {"task_type": "CAUSAL_LM"}
        for name, value in (self.model_extra or {}).items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3)
                raise ValueError(f"{self.tuner} has no setting {name}; near it are {', '.join(near or known)}")
            settings[name] = _checked(name, value, hints[name])
        try:
            return made(**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"PEFT refuses these settings of {self.tuner}: {error}") from error


class PeftTuner(PeftMethod):
    """The method `peft`."""

    config: PeftTunerConfig

    def peft_config(self, model: PreTrainedModel) -> peft.PeftConfig:
        return self.config.peft_config()


def _config_class(tuner: str) -> type[Any]:
    """The configuration class of a tuner that sits inside the layers and learns by gradients alone."""
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    classes = {str(kind.value).lower(): made for kind, made in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    steps = {str(kind.value).lower() for kind, made in PEFT_TYPE_TO_TUNER_MAPPING.items() if _wants_steps(made)}
    tokens = {n for n, made in classes.items() if issubclass(made, PromptLearningConfig)} | {"adaption_prompt"}
    name = tuner.lower().replace("-", "_")
    if name in tokens:
        raise ValueError(
            f"{tuner} puts virtual tokens before the input, which rows that share beginnings have no place for"
        )
    if name in steps:
        raise ValueError(f"{tuner} has to be told of every step, which is not done here; lora has a fixed rank")
    if name not in classes:
        usable = sorted(set(classes) - tokens - steps)
        near = difflib.get_close_matches(name, usable, n=3)
        raise ValueError(
            f"PEFT has no tuner {tuner}; {'near it are' if near else 'it has'} {', '.join(near or usable)}"
        )
    made: type[Any] = classes[name]
    return made


def _wants_steps(tuner: type[Any]) -> bool:
    """Whether the training loop would have to call the tuner after every step, as AdaLoRA wants it."""
    return hasattr(tuner, "update_and_allocate")


def _checked(name: str, value: Any, hint: Any) -> Any:
    """A value as PEFT's annotation has it; where that is more than pydantic knows, PEFT alone judges it."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}={value!r}: {error.errors()[0]['msg']}") from error
