"""LoRA through PEFT: adapters on the linear layers of a frozen model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from weitiao.errors import ModelError
from weitiao.methods.method import MethodSettings, PeftMethod

if TYPE_CHECKING:
    import peft
    from torch import nn
    from transformers import PreTrainedModel


def _as_names(value: Any) -> Any:
    """One name, or several with commas between them, as a list."""
    if not isinstance(value, str) or value == "all-linear":
        return value
    return [name for part in value.split(",") if (name := part.strip())]


class LoraConfig(MethodSettings):
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

    rank_pattern: dict[str, int] = Field(default_factory=dict)
    """Another rank for layers whose names end in, or match, a pattern: `{down_proj: 32}`."""

    alpha_pattern: dict[str, float] = Field(default_factory=dict)
    """Another `alpha` for such layers."""

    plus_ratio: float = Field(default=1.0, ge=1)
    """How much faster the second of an adapter's two matrices learns than the first (LoRA+, which advises 16,
    https://arxiv.org/abs/2402.12354)."""

    rslora: bool = False
    """Scale by `alpha / sqrt(r)` instead of `alpha / r` (rsLoRA, https://arxiv.org/abs/2312.03732)."""

    dora: bool = False
    """Learn the magnitude of the weights apart from their direction (DoRA, https://arxiv.org/abs/2402.09353)."""

    fused: bool = True
    """Run layers of a known form as fused ones: the same results, faster and in less memory (CPU, float32)."""

    def build(self) -> Lora:
        """The method with these settings."""
        return Lora(self)


class Lora(PeftMethod):
    """The method `lora`."""

    config: LoraConfig

    def __init__(self, config: LoraConfig) -> None:
        super().__init__(config)
        self.fused = config.fused

    def peft_config(self, model: PreTrainedModel) -> peft.LoraConfig:
        """PEFT's configuration for this model.

        Raises:
            ModelError: No layer of the model has one of the target names.
        """
        import peft

        config = self.config
        return peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.r,
            lora_alpha=2 * config.r if config.alpha is None else config.alpha,
            lora_dropout=config.dropout,
            target_modules=self._targets(model),
            bias=config.bias,
            rank_pattern=config.rank_pattern,
            alpha_pattern=config.alpha_pattern,
            use_rslora=config.rslora,
            use_dora=config.dora,
        )

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """See `Method.groups`: with LoRA+, the matrices that begin at zero are a group of their own."""
        if self.config.plus_ratio == 1:
            return super().groups(model)
        learned = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        second = {name for name in learned if ".lora_B." in name or ".lora_embedding_B" in name}
        return [
            {"params": [parameter for name, parameter in learned.items() if name not in second]},
            {"params": [learned[name] for name in learned if name in second], "lr_factor": self.config.plus_ratio},
        ]

    def _targets(self, model: PreTrainedModel) -> list[str] | str:
        """What PEFT is to look for: names, or a pattern where names alone would find layers that read no text."""
        named = {name: module for name, module in model.named_modules() if isinstance(module, _linear())}
        head, text = model.get_output_embeddings(), set(model.get_decoder().modules())
        readers = {name for name, module in named.items() if module in text or module is head}
        wanted = self.config.target_modules
        if wanted == "all-linear":
            left_out = {head, *_routers(model.get_decoder())}
            readers = {name for name in readers if named[name] not in left_out}
            wanted = sorted({name.rsplit(".", 1)[-1] for name in readers})
        missing = [w for w in wanted if not any(_matches(name, w) for name in readers)]
        if missing or not wanted:
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in readers}))
            raise ModelError(
                f"method.target_modules: {type(model).__name__} has no linear layer for text named "
                f"{', '.join(missing) or 'anything'}.",
                f"Choose from: {known}; or all-linear." if known else "Choose a model of another family.",
            )
        found = {name for name in named if any(_matches(name, w) for w in wanted)}
        if found <= readers:
            return wanted
        return "|".join(re.escape(name) for name in sorted(found & readers))


def _routers(decoder: nn.Module) -> set[nn.Module]:
    """Linear layers that choose experts: they lie beside stacks of matrices, and have one output for each of a stack.

    Keys and values may have as many outputs by chance: those are two layers in one module.
    """
    from torch import nn

    found: set[nn.Module] = set()
    for block in decoder.modules():
        parts = [part for part in block.children() if not isinstance(part, nn.Conv1d)]
        stacks = {w.shape[0] for part in parts for w in part.parameters(recurse=False) if w.ndim == 3}
        for module in block.modules() if stacks else ():
            chosen = [one for one in module.children() if isinstance(one, nn.Linear) and one.out_features in stacks]
            found.update(chosen if len(chosen) == 1 else ())
    return found


def _linear() -> tuple[type, ...]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D  # GPT-2 has its linear layers transposed

    return nn.Linear, Conv1D


def _matches(name: str, wanted: str) -> bool:
    """Whether PEFT takes a module of this name for one that is wanted."""
    return name == wanted or name.endswith(f".{wanted}")
