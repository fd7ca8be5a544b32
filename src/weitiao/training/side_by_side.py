"""Forests of a step side by side in one process, on a CPU.

Threads inside every operation wait for each other at its end. Threads that each compute a forest of their own wait once
per step; the weights are shared, and the gradients are added in the order of the forests, so that the same seed leaves
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from accelerate import Accelerator
from peft.tuners.lora.layer import ParamWrapper
from torch import Tensor

from weitiao.forest.layout import Forest
from weitiao.forest.plan import Step
from weitiao.objectives.objective import Losses, Objective
from weitiao.training.engine import Engine, learned_parameters
from weitiao.training.precision import Precision


class SideBySide(Engine):
    """One process with several workers.

    Args:
        accelerator, objective, optimizer, precision: As for `Engine`; one process, on a CPU (where no loss is scaled),
            and an objective that draws no random numbers (see `draws`), because threads would take them from each
            other.
        workers: At least two; they divide PyTorch's threads among them.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        precision: Precision | None = None,
        *,
        workers: int,
    ) -> None:
        super().__init__(accelerator, objective, optimizer, precision)
        self.at_once = workers
        threads = torch.get_num_threads()
        each = max(1, threads // workers)
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(each,))

    def accumulate(self, step: Step, weight: float, seed: Callable[[int], int]) -> list[tuple[int, Losses]]:
        """See `Engine.accumulate`."""
        if step.at_once == 1:
            return super().accumulate(step, weight, seed)
        parameters = list(learned_parameters(self.objective).values())

        def compute(forest: Forest) -> tuple[Losses, tuple[Tensor | None, ...]]:
            losses = self._losses(forest)
            gradients = torch.autograd.grad(losses.total * (1 / weight), parameters, allow_unused=True)
            return replace(losses, total=losses.total.detach()), gradients

        done: list[tuple[int, Losses]] = []
        for index, result in enumerate([self._pool.submit(compute, forest) for forest in step.forests]):
            losses, gradients = result.result()
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is None:  # laid out as the parameter is: fused optimisers read both in one order
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.add_(gradient)
            done.append((index, losses))
        return done

    def end(self) -> None:
        """See `Engine.end`."""
        self._pool.shutdown()
        super().end()


def rebuilds(objective: Objective) -> bool:
    """Whether modules are changed while they run, which threads would do to each other: PEFT's adapters on parameters
    put themselves into the module for the time of every call."""
    return any(isinstance(module, ParamWrapper) for module in objective.modules())


def draws(objective: Objective, forest: Forest) -> bool:
    """Whether the objective draws random numbers while it trains, as dropout does."""
    before = torch.get_rng_state()
    training = objective.training
    objective.train()
    try:
        with torch.no_grad():
            objective(forest)
        return not torch.equal(before, torch.get_rng_state())
    finally:
        objective.train(training)
        torch.set_rng_state(before)
