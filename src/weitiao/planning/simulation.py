"""A step of a training on tensors without data: what it allocates, and which operations it runs.

It is the training's own code that runs: method, objective, engine and optimiser. A deep model is run with few of its
layers, and once more with one more of each kind; what a layer adds is then counted as often as there are such layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from weitiao.forest.layout import Forest
from weitiao.forest.plan import Step
from weitiao.planning.sketch import Sketch
from weitiao.planning.trace import BACKWARD, Call, Trace
from weitiao.planning.workload import with_needs
from weitiao.training.engine import learned_parameters
from weitiao.training.engines import make_engine
from weitiao.training.offload import elsewhere

_FEW = 2
"""Layers of each kind in the short model: the top of one and the bottom of another are then different ones."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of a step, beside the weights.

    Attributes:
        states: What the optimiser keeps.
        gradients: Of what learns, all together; 0 where they never all exist.
        activations: What the forward pass leaves for the backward pass.
        peaks: Most bytes alive in each part of the step, all of the above included.
        heap_peaks: The same in blocks below `MAPPED_BYTES`, without what the optimiser keeps.
    """

    states: float
    gradients: float
    activations: float
    peaks: tuple[float, ...]
    heap_peaks: tuple[float, ...]

    @property
    def peak(self) -> float:
        """Most bytes alive at once."""
        return max(self.peaks)

    @property
    def heap(self) -> float:
        """Most bytes that come and go alive at once in blocks below `MAPPED_BYTES`."""
        return max(self.heap_peaks)


@dataclass(frozen=True, slots=True)
class Simulated:
    """A step of one forest.

    Attributes:
        forest: The forest.
        memory: What it allocates.
        layers: The decoder layers that are alike, by their numbers, and how often each operation runs in all of them.
            Their cost grows with the tokens of a forest.
        rest: The same outside of them; it grows with the targets.
        update: The same in clipping and in the optimiser; once for each step.
    """

    forest: Forest
    memory: Bytes
    layers: tuple[tuple[tuple[int, ...], Mapping[Call, float]], ...]
    rest: Mapping[Call, float]
    update: Mapping[Call, float]


def simulate(
    sketch: Sketch, forest: Forest, *, accumulated: bool, num_ranks: int = 1, whole: bool = False
) -> Simulated:
    """Run a step of one forest.

    Args:
        sketch: The model, and how it is tuned.
        forest: What is learned from.
        accumulated: Whether the gradients of other forests are there already, because a step has several.
        num_ranks: Processes that train together.
        whole: Run all layers instead of counting some of them several times: exact, and slow.
    """
    kinds = sketch.kinds()
    few = kinds if whole else [alike[:_FEW] for alike in kinds]
    fake = FakeTensorMode(allow_non_fake_inputs=True)

    def run(kept: list[list[int]]) -> _Measured:
        with fake, sketch.shortened(sorted(index for alike in kept for index in alike)):
            return _run(sketch, forest, accumulated=accumulated, num_ranks=num_ranks)

    base = run(few)
    if whole:
        return Simulated(forest, base.memory, (), base.step, base.update)
    total, rest = base, Counter(base.step)
    layers: list[tuple[tuple[int, ...], Mapping[Call, float]]] = []
    for place, alike in enumerate(kinds):
        count = len(few[place])
        deep = len(alike) > _FEW  # else what a layer costs is seen by leaving one out
        other = run([*few[:place], alike[: count + 1 if deep else count - 1], *few[place + 1 :]])
        more, less = (other, base) if deep else (base, other)
        layers.append((tuple(alike), _scaled(more.step, less.step, len(alike))))
        rest.subtract(_scaled(more.step, less.step, count))
        if deep:
            total = total.plus(more, less, len(alike) - count)
    return Simulated(forest, total.memory, tuple(layers), +rest, total.update)


@dataclass(frozen=True, slots=True)
class _Measured:
    memory: Bytes
    step: Mapping[Call, float]
    update: Mapping[Call, float]

    def plus(self, more: _Measured, base: _Measured, times: int) -> _Measured:
        """With so many more layers of the kind of which `more` has one more than `base`."""

        def number(own: float, with_it: float, without: float) -> float:
            return own + times * (with_it - without)

        mine, other, first = self.memory, more.memory, base.memory
        memory = Bytes(
            states=number(mine.states, other.states, first.states),
            gradients=number(mine.gradients, other.gradients, first.gradients),
            activations=number(mine.activations, other.activations, first.activations),
            peaks=tuple(map(number, mine.peaks, other.peaks, first.peaks)),
            heap_peaks=tuple(map(number, mine.heap_peaks, other.heap_peaks, first.heap_peaks)),
        )
        step = Counter(self.step) + Counter(_scaled(more.step, base.step, times))
        return _Measured(memory, step, Counter(self.update) + Counter(_scaled(more.update, base.update, times)))


def _scaled(more: Mapping[Call, float], base: Mapping[Call, float], times: int) -> dict[Call, float]:
    return {call: times * more_often for call, number in more.items() if (more_often := number - base.get(call, 0)) > 0}


def _run(sketch: Sketch, forest: Forest, *, accumulated: bool, num_ranks: int) -> _Measured:
    """A step, after a first one that made the optimiser's states."""
    way = sketch.way
    sketch.without_data()
    objective = sketch.objective
    groups = sketch.method.groups(sketch.adapted)
    optimizer = way.optimizer.build(groups, sketch.adapted, learning_rate=way.train.learning_rate)
    engine = make_engine(way.train, way.optimizer, cast(Accelerator, _First(num_ranks)), objective, optimizer)
    if way.train.offload_activations is not None:
        engine.saving = elsewhere(objective, lambda: _forgotten)
    learned = list(learned_parameters(objective).values())
    trace = Trace(known=(*objective.parameters(), *objective.buffers()))
    objective.train()
    with trace:
        for parameter in learned:
            parameter.grad = torch.zeros_like(parameter)
        with_gradients = trace.live
        engine.begin_step(way.train.learning_rate)
        trace.begin("first")
        engine.update()
        for parameter in learned:
            parameter.grad = None
        states, heap_states = trace.live, trace.in_heap
        if accumulated:
            for parameter in learned:
                parameter.grad = torch.zeros_like(parameter)
        trace.begin("forward")
        engine.accumulate(Step((with_needs(objective, forest),)), 1.0, lambda index: 0)
        gradients = trace.live - states
        trace.begin("update")
        engine.finish(way.train.max_grad_norm)
        engine.update()
    parts = [trace.phases[name].alive for name in ("forward", BACKWARD, "update")]
    held = states + (with_gradients if accumulated else 0)
    live = [[one.live for one in part] for part in parts]
    heap = [[one.in_heap - heap_states for one in part] for part in parts]
    memory = Bytes(states, gradients, trace.kept - held, _peaks(live), _peaks(heap))
    calls = trace.phases["forward"].calls + trace.phases[BACKWARD].calls
    return _Measured(memory, calls, trace.phases["update"].calls)


def _peaks(parts: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """The most in the forward pass, in each half of the backward pass, and in the update."""
    forward, backward, update = parts
    half = len(backward) // 2
    return tuple(max(part, default=0) for part in (forward, backward[:half], backward[half:], update))


class _First:
    """What an engine asks Accelerate for, in the first of so many processes, without moving or sending anything."""

    process_index, is_main_process = 0, True
    device = torch.device("cpu")

    def __init__(self, num_processes: int) -> None:
        self.num_processes = num_processes

    def prepare(self, *parts: Any, device_placement: Any) -> tuple[Any, ...]:
        return parts

    def backward(self, loss: Tensor) -> None:
        if loss.requires_grad:  # the only layer that learns may just be the one that is left out
            loss.backward()

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        return nullcontext()

    def clip_grad_norm_(self, parameters: Any, max_norm: float) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm)


def _forgotten(tensor: Tensor) -> Callable[[], Tensor]:
    """Keeps nothing of a tensor but its shape."""
    return partial(torch.empty_strided, tensor.size(), tensor.stride(), dtype=tensor.dtype)
