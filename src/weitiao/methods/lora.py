"""LoRA through PEFT: adapters on the linear layers of a frozen model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from weitiao.errors import ModelError, RecipeError
from weitiao.methods.method import MethodSettings, PeftMethod
from weitiao.methods.named import find_named
from weitiao.methods.targets import linear_targets

if TYPE_CHECKING:
    import peft
    from torch import nn
    from transformers import PreTrainedModel

    from weitiao.forest.layout import Forest
    from weitiao.methods.expert_ranks import Beyond
    from weitiao.models.config import ModelConfig


_NOT_CONVERTED = ("dora", "bias", "rslora with patterns", "modules_to_save", "trainable_token_indices")
"""What PEFT's conversion of adapters that were taken out of the weights leaves out."""
_INIT = r"^(gaussian|orthogonal|pissa(_niter_[1-9]\d*)?|olora|eva|loftq)$"


def _as_names(value: Any) -> Any:
    """One name, or several with commas between them, as a list."""
    if not isinstance(value, str) or value == "all-linear":
        return value
    return [name for part in value.split(",") if (name := part.strip())]


def _as_ids(value: Any) -> Any:
    """A range such as `49152-53151`, both ends included, as a list."""
    if not isinstance(value, str) or not (found := re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", value)):
        return value
    return list(range(int(found[1]), int(found[2]) + 1))


class LoraConfig(MethodSettings):
    """Low-rank adapters beside frozen weights (LoRA, https://arxiv.org/abs/2106.09685)."""

    usual_learning_rate: ClassVar[float] = 2e-4

    type: Literal["lora"] = "lora"
    """The method."""

    r: int = Field(default=16, ge=1)
    """Rank of the adapters."""

    alpha: float | None = Field(default=None, gt=0)
    """Scale of the adapters: `alpha / r` times their product is added. Twice `r` when not given."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapters' input. Above 0, layers run unfused, which is slower."""

    target_modules: Annotated[
        Literal["all-linear"] | list[str],
        BeforeValidator(_as_names, json_schema_input_type=str | list[str]),
    ] = "all-linear"
    """Names of the linear layers that get an adapter (`q_proj`, `[q_proj, v_proj]`), or `all-linear`: every one inside
    the decoder layers, routers of mixtures of experts excepted."""

    target_parameters: list[str] = Field(default_factory=list)
    """Names of stacks of matrices that get an adapter as well, one for each matrix: the experts of a mixture, such as
    `experts.gate_up_proj` and `experts.down_proj`. Without `dropout` and `dora`."""

    modules_to_save: list[str] = Field(default_factory=list)
    """Names of parts that learn as a whole, beside the adapters, and are saved with them: `lm_head`, `norm`."""

    trainable_token_indices: Annotated[
        list[Annotated[int, Field(ge=0)]], BeforeValidator(_as_ids, json_schema_input_type=str | list[int])
    ] = Field(default_factory=list)
    """Ids of tokens whose embeddings learn: those of new or special tokens, for instance. `49152-53151` is a range."""

    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases learn as well."""

    rank_pattern: dict[str, int] = Field(default_factory=dict)
    """Another rank for layers whose names end in, or match, a pattern: `{down_proj: 32}`."""

    alpha_pattern: dict[str, float] = Field(default_factory=dict)
    """Another `alpha` for such layers."""

    expert_ranks: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Lower ranks for single experts of `target_parameters`: `{experts: 0, experts.3: 8, layers.1.mlp.experts.0: 4}`,
    in which the last that names an expert counts. With 0 it does not learn; the scale stays that of the stack."""

    plus_ratio: float = Field(default=1.0, ge=1)
    """How much faster the second of an adapter's two matrices learns than the first (LoRA+, which advises 16,
    https://arxiv.org/abs/2402.12354)."""

    init: Annotated[str, Field(pattern=_INIT)] | None = None
    """How new adapters begin: by default, with `gaussian`, `orthogonal` and `eva` (directions in which the data varies)
    they change nothing at first; `pissa`, `pissa_niter_4` (faster) and `olora` begin as a large part of the weights,
    `loftq` as what a quantised base lost by rounding."""

    rslora: bool = False
    """Scale by `alpha / sqrt(r)` instead of `alpha / r` (rsLoRA, https://arxiv.org/abs/2312.03732)."""

    dora: bool = False
    """Learn the magnitude of the weights apart from their direction (DoRA, https://arxiv.org/abs/2402.09353)."""

    fused: bool = True
    """Run layers of a known form as fused ones, and adapters on experts as thin products: the same results, faster and
    in less memory (CPU, float32)."""

    @model_validator(mode="after")
    def _fits_together(self) -> LoraConfig:
        """Refuse what PEFT cannot do together, or loses without a word."""
        patterns = bool(self.rank_pattern or self.alpha_pattern)
        given = {
            "dora": self.dora,
            "dropout": self.dropout > 0,
            "init": self.init is not None,
            "bias": self.bias != "none",
            "rank_pattern": bool(self.rank_pattern),
            "rslora with patterns": self.rslora and patterns,
            "modules_to_save": bool(self.modules_to_save),
            "trainable_token_indices": bool(self.trainable_token_indices),
        }
        alone = {
            "target_parameters": ("dropout", "dora", "init") if self.target_parameters else (),
            f"init={self.init}": _NOT_CONVERTED if self.takes_out else ("rank_pattern",) if self.init == "eva" else (),
        }
        for what, others in alone.items():
            if together := [name for name in others if given[name]]:
                raise ValueError(f"{what} does not go together with {', '.join(together)}")
        if not self.target_modules and not self.target_parameters:
            raise ValueError("method.target_modules may be empty only beside method.target_parameters")
        return self

    @property
    def takes_out(self) -> bool:
        """Whether the adapters begin as a part of the base weights, which then lack it."""
        return self.init is not None and self.init.startswith(("pissa", "olora"))

    def build(self) -> Lora:
        """The method with these settings."""
        return Lora(self)


class Lora(PeftMethod):
    """The method `lora`."""

    config: LoraConfig

    def __init__(self, config: LoraConfig) -> None:
        super().__init__(config)
        self.fused = config.fused
        self._beyond: list[Beyond] | None = None

    def peft_config(self, model: PreTrainedModel) -> peft.LoraConfig:
        """PEFT's configuration for this model.

        Raises:
            ModelError: Something that is named is not in the model.
        """
        import peft

        config, size = self.config, model.get_input_embeddings().weight.shape[0]
        if (last := max(config.trainable_token_indices, default=0)) >= size:
            raise ModelError(
                f"method.trainable_token_indices: {type(model).__name__} has {size:,} tokens, and none is {last}.",
                f"Choose from 0 to {size - 1}.",
            )
        return peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.r,
            lora_alpha=2 * config.r if config.alpha is None else config.alpha,
            lora_dropout=config.dropout,
            target_modules=linear_targets(model, config.target_modules, required=not config.target_parameters),
            target_parameters=self._stacks(model),
            modules_to_save=config.modules_to_save or None,
            trainable_token_indices=config.trainable_token_indices or None,
            bias=config.bias,
            rank_pattern=config.rank_pattern,
            alpha_pattern=config.alpha_pattern,
            use_rslora=config.rslora,
            use_dora=config.dora,
            init_lora_weights=True if config.init in (None, "loftq") else config.init,
            eva_config=peft.EvaConfig(rho=1.0) if config.init == "eva" else None,
        )

    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        """See `Method.apply`.

        Raises:
            RecipeError: The adapters cannot begin so on these weights.
        """
        import torch

        from weitiao.methods.first_values import values_of
        from weitiao.methods.fused.experts import use_thin_products

        init, quantized = self.config.init, getattr(model, "is_quantized", False)
        if (quantized and self.config.takes_out) or (not quantized and init == "loftq"):
            raise RecipeError(
                f"method.init: {init} needs a base model that is {'' if init == 'loftq' else 'not '}quantised.",
                "Choose another init (model.quantization decides whether the weights are rounded).",
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*with eva initialization", UserWarning)  # advice to those who call PEFT
            adapted = super().apply(model, seed=seed)
        if self.config.takes_out:
            self._first = values_of(adapted)
        self._beyond = None
        self.after_step(adapted)
        asked: Any = adapted.active_peft_config  # with what PEFT took for experts
        if asked.target_parameters and self.fused and model.device.type == "cpu" and model.dtype == torch.float32:
            use_thin_products(model)
        return adapted

    def initialize(self, model: nn.Module, *, base: ModelConfig, forests: Callable[[], Sequence[Forest]]) -> None:
        from weitiao.methods import first_values
        from weitiao.models.names import resolve_model

        if self.config.init == "eva":
            first_values.eva(model, forests())
        if self.config.init == "loftq":
            first_values.loftq(model, resolve_model(base))

    def differs_from(self, adapter: Path, model: PreTrainedModel) -> str | None:
        if self.config.init is not None:
            return f"a new one begins with method.init: {self.config.init}"
        return super().differs_from(adapter, model)

    def after_step(self, model: nn.Module) -> None:
        """See `Method.after_step`: experts keep their ranks."""
        from weitiao.methods.expert_ranks import beyond_ranks

        if not self.config.expert_ranks:
            return
        if self._beyond is None:
            self._beyond = beyond_ranks(model, self.config.expert_ranks)
        for stack in self._beyond:
            stack.clear()

    def take(self, model: nn.Module, adapter: Path) -> None:
        from weitiao.methods.expert_ranks import require_ranks

        super().take(model, adapter)
        require_ranks(model, self.config.expert_ranks, of=str(adapter))

    def write(self, directory: Path, model: peft.PeftModel, **options: Any) -> None:
        from weitiao.methods.first_values import save_converted

        if self.config.takes_out:
            save_converted(model, directory, self._first, **options)
        else:
            super().write(directory, model, **options)

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

    def _stacks(self, model: PreTrainedModel) -> list[str] | None:
        """The names that PEFT looks for of stacks of matrices.

        Raises:
            ModelError: There is none of a name.
        """
        wanted = self.config.target_parameters
        stacks = (name for name, weight in model.named_parameters() if weight.ndim == 3)
        of = f"{type(model).__name__} has no stack of matrices"
        find_named(stacks, wanted, setting="method.target_parameters", of=of)
        return wanted or None
