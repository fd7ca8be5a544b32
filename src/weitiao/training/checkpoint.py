"""Checkpoints: the weights that learn, the optimiser's moments, and a few numbers. Nothing else is state.

The order of the data, the learning rate and dropout are pure functions of the step.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from weitiao.console import quoted
from weitiao.errors import RunError
from weitiao.files import full_disk_is_named, written_whole
from weitiao.runs.run_dir import RunDir

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


def learned_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_weights(directory: Path, model: nn.Module) -> None:
    """Write the parameters that learn."""
    tensors = {name: parameter.detach().contiguous() for name, parameter in learned_parameters(model).items()}
    (directory / WEIGHTS).write_bytes(save(tensors))


def load_weights(directory: Path, model: nn.Module) -> None:
    """Read what `save_weights` wrote into a model of the same form."""
    tensors = load_file(directory / WEIGHTS)
    parameters = learned_parameters(model)
    if tensors.keys() != parameters.keys():
        raise RunError(
            f"{directory / WEIGHTS} holds other parameters than the recipe's method learns.",
            "Go on with the recipe that the run was started with.",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def save_checkpoint(
    run: RunDir, model: nn.Module, optimizer: torch.optim.Optimizer, state: State, *, keep: int
) -> None:
    """Write a checkpoint in one step, then remove all but the newest `keep`.

    Raises:
        RunError: The disk is full. Earlier checkpoints are untouched.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in learned_parameters(model).items()}
    moments: dict[str, Tensor] = {}
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            moments[f"{key}/{names[parameter]}"] = value.detach().contiguous()
    remedy = f"Free some space, then go on with: weitiao train {quoted(run.path)}"
    with (
        full_disk_is_named(f"the checkpoint of step {state.step} in {run.checkpoints}", remedy),
        written_whole(run.checkpoint(state.step)) as directory,
    ):
        save_weights(directory, model)
        (directory / OPTIMIZER).write_bytes(save(moments))
        (directory / STATE).write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
    for old in run.complete_checkpoints()[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Put model and optimiser where a checkpoint left them.

    Args:
        directory: A checkpoint that is whole (`check_whole`).
        model, optimizer: Of the same form as those that were saved.

    Raises:
        RunError: The checkpoint is of a run with another method.
    """
    load_weights(directory, model)
    parameters = learned_parameters(model)
    moments: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
    for key, value in load_file(directory / OPTIMIZER).items():
        moment, name = key.split("/", 1)
        moments[parameters[name]][moment] = value
    # PyTorch numbers the parameters in the order of the groups, and knows where each kind of value has to lie.
    numbered = enumerate(parameter for group in optimizer.param_groups for parameter in group["params"])
    state = {number: moments[parameter] for number, parameter in numbered if parameter in moments}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return read_state(directory)


def read_state(directory: Path) -> State:
    """The numbers of a checkpoint; what an earlier version did not write has its default."""
    values: dict[str, Any] = json.loads((directory / STATE).read_text(encoding="utf-8"))
    return State(**{field.name: values[field.name] for field in fields(State) if field.name in values})
