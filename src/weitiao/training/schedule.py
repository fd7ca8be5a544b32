"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from weitiao.training.config import TrainConfig


def total_steps(config: TrainConfig, steps_per_epoch: int) -> int:
    """Optimiser steps that the settings ask for, whichever limit comes first."""
    epochs = 3.0 if config.epochs is None and config.max_steps is None else config.epochs
    limits = []
    if epochs is not None:
        limits.append(math.ceil(epochs * steps_per_epoch))
    if config.max_steps is not None:
        limits.append(config.max_steps)
    return min(limits)


def warmup_steps(config: TrainConfig, num_steps: int) -> int:
    """Steps in which the learning rate rises."""
    return math.ceil(config.warmup * num_steps) if config.warmup < 1 else int(config.warmup)


def learning_rate(config: TrainConfig, step: int, num_steps: int) -> float:
    """Learning rate of step `step` (from 0) of `num_steps`."""
    warmup = warmup_steps(config, num_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - warmup) / max(1, num_steps - warmup)
    falling = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1 - done
    return config.learning_rate * falling
