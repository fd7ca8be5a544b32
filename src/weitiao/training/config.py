"""The `train` section of a recipe: the loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from weitiao.config import Config

PrecisionName = Literal["auto", "weights", "bfloat16", "float16"]


class RouterConfig(Config):
    """What the routers of a mixture of experts learn."""

    learn: bool | None = None
    """Whether routers learn, with the methods that save a whole model; None leaves it to the method. Beside adapters
    they learn with `method.modules_to_save`."""

    balance: float | None = Field(default=None, ge=0)
    """Coefficient of the load-balancing loss (Switch Transformer, https://arxiv.org/abs/2101.03961), the mean of what
    every sequence has alone. None is the model's own (`router_aux_loss_coef`) where routers learn, and 0 elsewhere."""

    z_loss: float = Field(default=0.0, ge=0)
    """Coefficient of the router z-loss, which keeps logits small (https://arxiv.org/abs/2202.08906 has 0.001)."""


class TrainConfig(Config):
    """How long, how fast and in which portions is learned."""

    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training data; 3 when neither this nor `max_steps` is given."""

    max_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps; with `epochs` as well, whatever comes first."""

    batch_size: int = Field(default=16, ge=1)
    """Sequences in an optimiser step, over all ranks. It decides what a step means; memory it does not decide,
    so there is no number of accumulation steps beside it."""

    token_budget: int | Literal["auto"] = "auto"
    """Tokens computed at once on a rank, after shared beginnings are merged; a step that has more is computed in
    portions, whose gradients are accumulated. It decides memory, never the result (dropout and `neftune` excepted:
    their noise is drawn anew for each portion)."""

    precision: PrecisionName = "auto"
    """Number format of the products: `weights` is that of `model.dtype`; `bfloat16` and `float16` compute in it beside
    weights in float32 (autocast), float16 with a scaled loss and on a GPU only. A format that is slower here than
    float32 is refused with the figures. `auto` is `bfloat16` for methods whose weights are in float32 because they
    learn, on GPUs that compute in it, and `weights` elsewhere."""

    checkpointing: bool | int = False
    """Keep only the inputs of the layers for the backward pass, and compute the rest a second time: about a third more
    time, and a fraction of the memory for long rows. A number n does so with every n-th layer: less is saved, and less
    computed again. It does not change the result."""

    offload_activations: Literal["memory", "disk"] | None = None
    """Where the activations wait for the backward pass: in the host's memory (for a GPU), or in a file in the run
    directory. It does not change the result."""

    neftune: float | None = Field(default=None, gt=0)
    """NEFTune: uniform noise on the embeddings while learning, of this alpha (https://arxiv.org/abs/2310.05914 has 5
    to 15). A token that several rows share has one noise for all of them. None is no noise."""

    router: RouterConfig = Field(default_factory=RouterConfig)
    """Of a mixture of experts: whether its routers learn, and what keeps all experts in use."""

    weigh: Literal["auto", "tokens", "rows"] = "auto"
    """What one unit of the loss is: a learned token, or a row, whose learned tokens then weigh 1 together. `auto` is
    `tokens`, and `rows` when several sources (`data.replay` is one) differ by more than a factor of 2 in the mean
    length of what is learned of a row. However it is, `data.replay` has its `share` of the loss."""

    share_prefixes: bool = True
    """Compute a beginning that several sequences share once."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """The highest learning rate. Where it is not given: 2e-4 for `lora`, 2e-5 for `full`, 5e-5 for `freeze`, 1e-3 for
    `bitfit`, `adapter` and `peft`."""

    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up: to zero along a cosine or a line, or not at all."""

    warmup: float = Field(default=0.03, ge=0)
    """Steps in which the learning rate rises from zero: a share of all steps if below 1, else a number of steps."""

    max_grad_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; a larger one is scaled down. None switches clipping off."""

    seed: int = Field(default=0, ge=0)
    """Decides the order of the data, the adapters' first values, dropout and noise."""

    validate_every: int | Literal["epoch"] = "epoch"
    """Steps between two validations, or after each epoch. Without validation data there are none."""

    validate_answers: int = Field(default=0, ge=0)
    """Validation rows that every validation also lets the model answer, and scores by `evaluate.metrics`; 0 is none."""

    best_by: Literal["loss", "metric"] = "loss"
    """Which validation is the best: the one with the lowest loss, or with the highest score in the first of
    `evaluate.metrics` (of equal ones the lowest loss), which needs `validate_answers`."""

    patience: int | None = Field(default=None, ge=1)
    """Stop after so many validations in a row without a new best; None never stops early."""

    keep_best: bool = True
    """End with the weights of the best validation instead of the last ones."""

    save_every: int = Field(default=100, ge=1)
    """Steps between two checkpoints."""

    keep_checkpoints: int = Field(default=2, ge=1)
    """How many checkpoints stay; older ones are removed."""

    trackers: list[str] = Field(default_factory=list)
    """Experiment trackers that Accelerate knows by name: tensorboard, wandb, mlflow, trackio, ..."""

    threads: int | Literal["auto"] = "auto"
    """CPU threads of each process."""

    @model_validator(mode="after")
    def _agree(self) -> TrainConfig:
        for name in ("token_budget", "validate_every", "threads", "checkpointing"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1 and value is not False:
                raise ValueError(f"{name} must be at least 1")
        if self.best_by == "metric" and not self.validate_answers:
            raise ValueError("best_by=metric needs answers: set validate_answers to a number of validation rows")
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            raise ValueError(f"warmup={self.warmup}: give a share below 1, or a whole number of steps")
        return self
