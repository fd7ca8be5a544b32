"""What runs an objective on the processes and devices of this launch."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, reduce
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
)

from weitiao.forest.layout import Forest
from weitiao.forest.plan import Step
from weitiao.machine.ranks import from_main
from weitiao.models.host_weights import settle
from weitiao.objectives.objective import Losses, Objective
from weitiao.training.precision import Precision

T = TypeVar("T")

_SCALE = "loss_scale."


class Engine:
    """One process, or several with the same model in each (DistributedDataParallel), through Accelerate.

    The loop knows no more of where it runs than what stands here; an engine that updates in the backward pass is a
    subclass.

    Args:
        accelerator: Of this launch.
        objective: The model and what it learns, on the device.
        optimizer: Of what learns.
        precision: In which number format is computed.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        precision: Precision | None = None,
    ) -> None:
        self.accelerator = accelerator
        self.objective = objective
        self.optimizer = optimizer
        self.precision = precision or Precision("weights", accelerator.device)
        self.saving: Callable[[], AbstractContextManager[Any]] = nullcontext
        """Around every forward pass of a training: where what the backward pass needs is kept."""
        placed = [False, True] if settle(objective) else None  # what stays on the host is not moved
        self._wrapped, self._prepared = accelerator.prepare(objective, optimizer, device_placement=placed)

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def num_ranks(self) -> int:
        return int(self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def begin_step(self, learning_rate: float) -> None:
        """Set the learning rate of this step. A parameter group may have a factor of its own, `lr_factor`."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_factor", 1.0)

    def accumulate(self, step: Step, weight: float, seed: Callable[[int], int]) -> list[tuple[int, Losses]]:
        """Add up the gradients of this rank's forests of a step.

        Args:
            step: The forests of all ranks.
            weight: Of all their items; the gradient is that of the weighted sum of the losses, divided by it.
            seed: Of what is drawn while a forest is computed, by its index in the step.

        Returns:
            The indices of these forests, ascending, and their losses.
        """
        forests = step.forests
        done: list[tuple[int, Losses]] = []
        rounds = -(-len(forests) // self.num_ranks)
        for turn in range(rounds):
            index = turn * self.num_ranks + self.rank
            # A rank without work in the last round runs along without weight: every rank calls the model as often.
            forest = forests[index] if index < len(forests) else _weightless(forests[0])
            torch.manual_seed(seed(index))
            with self._micro(last=turn == rounds - 1):
                losses = self._losses(forest)
                # DistributedDataParallel divides the sum of the gradients by the number of ranks
                self.accelerator.backward(self.precision.scaled(losses.total * (self.num_ranks / weight)))
            if index < len(forests):
                done.append((index, replace(losses, total=losses.total.detach())))  # without what autograd kept
        return done

    def _losses(self, forest: Forest) -> Losses:
        with self.saving(), self.precision.computing():
            losses: Losses = self._wrapped(forest)
        return losses

    def _micro(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one forest; gradients are exchanged with the last one of a step."""
        return nullcontext() if last else self.accelerator.no_sync(self._wrapped)

    def finish(self, max_norm: float | None) -> float:
        """Clip the gradient of the step; its norm before that."""
        self.precision.unscale(self.optimizer)
        limit = math.inf if max_norm is None else max_norm
        norm = self.accelerator.clip_grad_norm_(learned_parameters(self.objective).values(), limit)
        assert isinstance(norm, Tensor)
        return float(norm)

    def update(self) -> None:
        """Step the optimiser, and let the gradients go: a checkpoint or a validation may come before the next step."""
        self.precision.step(self.optimizer, self._prepared.step)
        self._prepared.zero_grad()

    def gather(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All that a checkpoint holds: the weights that learn, and the optimiser's moments, whole and on the CPU."""
        scale = {f"{_SCALE}{name}": value for name, value in self.precision.state().items()}
        return weights_of(self.objective), moments_of(self.objective, self.optimizer) | scale

    def restore(self, weights: dict[str, Tensor], moments: dict[str, Tensor]) -> None:
        """Put the objective and the optimiser where `gather` found them."""
        load_weights(self.objective, weights)
        scale = {name: moments.pop(name) for name in list(moments) if name.startswith(_SCALE)}
        self.precision.restore({name.removeprefix(_SCALE): value for name, value in scale.items()})
        load_moments(self.objective, self.optimizer, moments)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a number over all ranks."""
        if self.num_ranks == 1:
            return value
        total = reduce(value.to(self.accelerator.device), "sum")
        assert isinstance(total, Tensor)
        return total.cpu()

    def anyone(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return flag if self.num_ranks == 1 else bool(self.sum(torch.tensor(float(flag))) > 0)

    def collect(self, values: list[T]) -> list[T]:
        """The values of all ranks, in the order of the ranks."""
        return values if self.num_ranks == 1 else gather_object(values)

    def from_main(self, find: Callable[[], T]) -> T:
        """What the main process finds, on every rank; the others wait."""
        return from_main(find)

    def on_main(self, action: Callable[[], None]) -> None:
        """Do it on the main process; the others wait."""
        if self.is_main:
            action()
        self.accelerator.wait_for_everyone()

    def log(self, numbers: dict[str, Any], step: int) -> None:
        """Hand numbers to the trackers."""
        self.accelerator.log(numbers, step=step)

    def end(self) -> None:
        """Wait for all ranks, end the trackers, and leave the process group."""
        self.accelerator.wait_for_everyone()
        if self.num_ranks > 1:
            time.sleep(_LETTING_GO_SECONDS)
        self.accelerator.end_training()


_LETTING_GO_SECONDS = 0.2
"""In which gloo's thread lets go of the tensors of the last exchange, for which it needs the interpreter's lock. Who
ends the group before that holds the lock, and waits for the thread: for ever."""


def _weightless(forest: Forest) -> Forest:
    """The same forest, whose loss counts nothing."""
    targets = replace(forest.targets, weights=np.zeros_like(forest.targets.weights))
    return replace(forest, targets=targets, items=tuple(replace(item, weight=0.0) for item in forest.items))


_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def learned_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, whole and on the CPU, by name."""
    # Not the state of the whole model: that of some frozen layers (bitsandbytes) has entries that are no attributes.
    return {name: one.detach().cpu().contiguous() for name, one in learned_parameters(model).items()}


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put back what `weights_of` gave; what is frozen stays."""
    set_model_state_dict(model, dict(weights), options=StateDictOptions(strict=False))


def moments_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser has noted of each parameter, as `moment/parameter`."""
    if not optimizer.state:  # else PyTorch makes a step with gradients of zero, to find out what would be in it
        return {}
    state: Any = get_optimizer_state_dict(model, optimizer, options=_WHOLE)["state"]
    moments: dict[str, Tensor] = {}
    for name, values in state.items():
        for key, value in values.items():
            if isinstance(value, dict):  # bitsandbytes keeps tables of its own, which several parameters may share
                moments |= {f"{key}.{part}/{name}": one.detach().clone() for part, one in value.items()}
            else:
                moments[f"{key}/{name}"] = torch.as_tensor(value).detach().contiguous()
    return moments


def load_moments(model: nn.Module, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Put back what `moments_of` gave, wherever the optimiser wants each kind of value to lie."""
    named: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in moments.items():
        moment, name = key.split("/", 1)
        table, _, part = moment.partition(".")
        if part:
            named[name].setdefault(table, {})[part] = value
        else:  # a count is a whole number for those that count in such, and a tensor for the others
            named[name][moment] = int(value) if value.dtype == torch.int64 else value
    names = {parameter: name for name, parameter in model.named_parameters()}
    # PyTorch numbers the parameters in the order of the groups, and knows where each kind of value has to lie.
    numbered = enumerate(names[parameter] for group in optimizer.param_groups for parameter in group["params"])
    state = {number: named[name] for number, name in numbered if name in named}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
