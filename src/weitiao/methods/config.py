"""The `method` section of a recipe: which parameters learn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Tag

from weitiao.config import type_of
from weitiao.methods.bitfit import BitFitConfig
from weitiao.methods.bottleneck import AdapterConfig
from weitiao.methods.freeze import FreezeConfig
from weitiao.methods.full import FullConfig
from weitiao.methods.lora import LoraConfig
from weitiao.methods.method import Method, MethodSettings
from weitiao.methods.peft_tuner import PeftTunerConfig
from weitiao.user_code import OwnConfig


class OwnMethodConfig(MethodSettings, OwnConfig):
    """A method that a user wrote: a subclass of `weitiao.methods.method.Method`."""

    def build(self) -> Method:
        """The method with these settings."""
        made = self.load(Method)
        method: Method = made(self.settings(made))
        return method


MethodConfig = Annotated[
    Annotated[LoraConfig, Tag("lora")]
    | Annotated[FullConfig, Tag("full")]
    | Annotated[FreezeConfig, Tag("freeze")]
    | Annotated[BitFitConfig, Tag("bitfit")]
    | Annotated[AdapterConfig, Tag("adapter")]
    | Annotated[PeftTunerConfig, Tag("peft")]
    | Annotated[OwnMethodConfig, Tag("own")],
    Discriminator(
        type_of("lora"),
        custom_error_type="unknown_type",
        custom_error_message="there is no such method; there are lora, full, freeze, bitfit, adapter, peft, and "
        "FILE.py:CLASS",
    ),
]
