"""Checkpoints: the weights that learn, the optimiser's moments, and a few numbers. Nothing else is state.

The order of the data, the learning rate and dropout are pure functions of the step.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from weitiao.console import quoted
from weitiao.errors import RunError
from weitiao.files import full_disk_is_named, written_whole
from weitiao.runs.run_dir import RunDir
from weitiao.training.engine import Engine, learned_parameters, weights_of

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"


@dataclass(slots=True)
class State:
    """Where a run stands.

    Attributes:
        data_fingerprint: Of the rendered and weighed training data; a resumed run must find the same.
        validation_fingerprint: The same of the validation data; None in checkpoints of earlier versions.
        model_fingerprint: Of the base model's weights; None in checkpoints of earlier versions.
        num_steps: Steps that the run was to have; None before the first of them, and in earlier versions.
        step: Optimiser steps done.
        num_tokens: Tokens of the sequences learned from so far, counted without sharing.
        seconds: Time spent in the loop.
        best_loss, best_step: The best validation so far.
        num_bad_validations: Validations in a row without a new best.
        stopped_early: Whether patience ran out.
        validation_due: Whether the validation of this step was left, and is still to be done.
    """

    data_fingerprint: str
    validation_fingerprint: str | None = None
    model_fingerprint: str | None = None
    num_steps: int | None = None
    step: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int | None = None
    num_bad_validations: int = 0
    stopped_early: bool = False
    validation_due: bool = False


def save_weights(directory: Path, model: nn.Module) -> None:
    """Write the parameters that learn."""
    save_file(weights_of(model), directory / WEIGHTS)


def read_weights(directory: Path, model: nn.Module) -> dict[str, Tensor]:
    """Read what `save_weights` wrote for a model of the same form.

    Raises:
        RunError: The model learns other parameters.
    """
    tensors = load_file(directory / WEIGHTS)
    if tensors.keys() != learned_parameters(model).keys():
        raise RunError(
            f"{directory / WEIGHTS} holds other parameters than the recipe's method learns.",
            "Go on with the recipe that the run was started with.",
        )
    return tensors


def save_checkpoint(run: RunDir, engine: Engine, state: State, *, keep: int) -> None:
    """Write a checkpoint in one step, then remove all but the newest `keep`.

    Raises:
        RunError: The disk is full. Earlier checkpoints are untouched.
    """
    weights, moments = engine.gather()
    remedy = f"Free some space, then go on with: weitiao train {quoted(run.path)}"
    with (
        full_disk_is_named(f"the checkpoint of step {state.step} in {run.checkpoints}", remedy),
        written_whole(run.checkpoint(state.step)) as directory,
    ):
        save_file(weights, directory / WEIGHTS)  # `save` would hold them twice more
        save_file(moments, directory / OPTIMIZER)
        (directory / STATE).write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
    for old in run.complete_checkpoints()[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(directory: Path, engine: Engine) -> State:
    """Put objective and optimiser where a checkpoint left them.

    Args:
        directory: A checkpoint that is whole (`check_whole`).
        engine: Of the same form as the one that was saved.

    Raises:
        RunError: The checkpoint is of a run with another method.
    """
    engine.restore(read_weights(directory, engine.objective), load_file(directory / OPTIMIZER))
    return read_state(directory)


def read_state(directory: Path) -> State:
    """The numbers of a checkpoint; what an earlier version did not write has its default."""
    values: dict[str, Any] = json.loads((directory / STATE).read_text(encoding="utf-8"))
    return State(**{field.name: values[field.name] for field in fields(State) if field.name in values})
