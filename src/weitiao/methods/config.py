"""The `method` section of a recipe: which parameters learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from weitiao.config import Config, type_of
from weitiao.user_code import OwnConfig

if TYPE_CHECKING:
    from weitiao.methods.method import Method


def _as_names(value: Any) -> Any:
    """One name, or several with commas between them, as a list."""
    if not isinstance(value, str) or value == "all-linear":
        return value
    return [name for part in value.split(",") if (name := part.strip())]


class LoraConfig(Config):
    """Low-rank adapters beside frozen weights (LoRA, https://arxiv.org/abs/2106.09685)."""

    type: Literal["lora"] = "lora"
    """The method."""

    r: int = Field(default=16, ge=1)
    """Rank of the adapters."""

    alpha: float | None = Field(default=None, gt=0)
    """Scale of the adapters: `alpha / r` times their product is added. Twice `r` when not given."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapters' input. Above 0, layers run unfused, which is slower."""

    target_modules: Annotated[
        Literal["all-linear"] | Annotated[list[str], Field(min_length=1)],
        BeforeValidator(_as_names, json_schema_input_type=str | list[str]),
    ] = "all-linear"
    """Names of the linear layers that get an adapter (`q_proj`, `[q_proj, v_proj]`), or `all-linear`: every one inside
    the decoder layers, routers of mixtures of experts excepted."""

    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases learn as well."""

    rslora: bool = False
    """Scale by `alpha / sqrt(r)` instead of `alpha / r` (rsLoRA, https://arxiv.org/abs/2312.03732)."""

    dora: bool = False
    """Learn the magnitude of the weights apart from their direction (DoRA, https://arxiv.org/abs/2402.09353)."""

    fused: bool = True
    """Run layers of a known form as fused ones: the same results, faster and in less memory (CPU, float32)."""

    def build(self) -> Method:
        """The method with these settings."""
        from weitiao.methods.lora import Lora

        return Lora(self)


class OwnMethodConfig(OwnConfig):
    """A method that a user wrote: a subclass of `weitiao.methods.method.Method`."""

    def build(self) -> Method:
        """The method with these settings."""
        from weitiao.methods.method import Method

        made = self.load(Method)
        method: Method = made(self.settings(made))
        return method


MethodConfig = Annotated[
    Annotated[LoraConfig, Tag("lora")] | Annotated[OwnMethodConfig, Tag("own")],
    Discriminator(
        type_of("lora"),
        custom_error_type="unknown_type",
        custom_error_message="there is no such method; there are lora, and FILE.py:CLASS",
    ),
]
