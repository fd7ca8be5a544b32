"""LOMO and AdaLOMO: every weight is updated as soon as its gradient is there, and the gradient is forgotten
(https://arxiv.org/abs/2306.09782, algorithm 1 and section 3.3.2; https://arxiv.org/abs/2310.10195, algorithm 1). All
gradients together never exist.

The rule of a step is that of an ordinary optimiser, which steps while one weight alone has a gradient: SGD for LOMO,
Adafactor for AdaLOMO (the same second moment in a row and a column, the same limit on the size of an update; PyTorch's
learning rate is at most the inverse root of the number of the step).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from weitiao.errors import RecipeError
from weitiao.forest.layout import Forest
from weitiao.forest.plan import Step
from weitiao.objectives.objective import Losses, Objective
from weitiao.training.engine import Engine, learned_parameters
from weitiao.training.precision import Precision


class Lomo(Engine):
    """Steps inside the backward pass, in one process.

    With a limit on the norm of the gradient there are two passes: the first finds the norm, the second updates.

    Args:
        accelerator, objective, optimizer, precision: As for `Engine`; the optimiser keeps nothing but what it needs of
            a weight, and no loss is scaled.
        max_norm: Limit of the norm; None for a single pass.

    Raises:
        RecipeError: There are several processes.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        precision: Precision | None = None,
        *,
        max_norm: float | None,
    ) -> None:
        super().__init__(accelerator, objective, optimizer, precision)
        if self.num_ranks > 1:
            raise RecipeError(
                "optimizer: lomo and adalomo update weights while gradients are made, which one process alone can do.",
                "Start it without torchrun, or choose optimizer: {type: adafactor}.",
            )
        self._max_norm = max_norm
        self._norm = 0.0

    def accumulate(self, step: Step, weight: float, seed: Callable[[int], int]) -> list[tuple[int, Losses]]:
        """Learn from the one forest of a step; see `Engine.accumulate`."""
        (forest,) = step.forests
        if self._max_norm is not None:
            losses = self._pass(forest, weight, seed(0), learn=False)
            if not math.isfinite(self._norm):
                return [(0, losses)]
            factor = min(1.0, self._max_norm / (self._norm + 1e-6))  # as `torch.nn.utils.clip_grad_norm_` has it
            for group in self.optimizer.param_groups:  # a step of SGD is as much shorter as its gradient would be
                group["lr"] *= factor
        return [(0, self._pass(forest, weight, seed(0), learn=True))]

    def finish(self, max_norm: float | None) -> float:
        """The norm of the gradient as it was; the weights have been updated."""
        return self._norm

    def update(self) -> None:
        """Nothing is left to do."""

    def _pass(self, forest: Forest, weight: float, seed: int, *, learn: bool) -> Losses:
        """Forward and backward: a gradient counts for the norm, updates its weight if asked to, and goes.

        From the first gradient that is not finite on, nothing is updated. What was before it is lost with the run,
        which ends here: checkpoints are written after whole steps.
        """
        squares: list[Tensor] = []
        finite = True

        def take(parameter: Tensor) -> None:
            nonlocal finite
            assert parameter.grad is not None
            squares.append(parameter.grad.double().square().sum())
            if learn and (finite := finite and math.isfinite(float(squares[-1]))):
                self.optimizer.step()  # of this weight: no other one has a gradient now
            parameter.grad = None

        parameters: list[nn.Parameter] = list(learned_parameters(self.objective).values())
        hooks = [parameter.register_post_accumulate_grad_hook(take) for parameter in parameters]
        try:
            torch.manual_seed(seed)
            losses = self._losses(forest)
            if bool(torch.isfinite(losses.total)):  # else the loop says so, and nothing was learned
                self.accelerator.backward(losses.total * (1 / weight))
                self._norm = float(torch.stack(squares).sum().sqrt())
            else:
                self._norm = math.nan
        finally:
            for hook in hooks:
                hook.remove()
        return replace(losses, total=losses.total.detach())
