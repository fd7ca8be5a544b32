"""What a training needs: memory, time, energy and money, each with where the figure comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from weitiao.methods.fused.layer import num_fused
from weitiao.planning.seconds import Clock
from weitiao.planning.simulation import Simulated, simulate
from weitiao.planning.sketch import Sketch, Way
from weitiao.planning.trace import Call
from weitiao.planning.workload import Workload, portion
from weitiao.text.wording import Said, Wording, said

HELD_SHARE, HELD_SHARE_UNFUSED, HELD_SHARE_WRITTEN = 0.12, 0.5, 1.0
"""What malloc holds beside what lives, as a share of what a step allocates and frees: little where fused layers use
their buffers again or all of a model learns, much where adapters make many short-lived tensors, most where weights are
written out again and again. Measured on a CPU with glibc (`python -m benchmarks.plan`)."""

HELD_SHARE_GPU = 0.05
"""The same for PyTorch's own allocator on a GPU. Assumed."""

LIBRARIES_BYTES = 60 * 2**20
"""What libraries load and reserve when they first compute. Measured on a CPU."""

_FEW_TOKENS = 1024
"""Of a forest that is run to get a rough forecast."""

FORWARD_SHARE = 1 / 3
"""Of the time of a forward and a backward pass."""


@dataclass(frozen=True, slots=True)
class Line:
    """A part of the memory.

    Attributes:
        name: What it is.
        bytes: How much.
        source: Where the figure comes from.
    """

    name: str
    bytes: float
    source: Said


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a training needs.

    Attributes:
        num_parameters, num_learned: Of the model with what the method adds.
        memory: Its parts; their sum is what is needed at most.
        num_steps: Optimiser steps.
        tokens_per_step: Tokens that a step computes, on average, and what they are without sharing.
        seconds_per_step: On average in the first epoch.
        seconds: Of all steps and validations.
    """

    num_parameters: int
    num_learned: int
    memory: tuple[Line, ...]
    num_steps: int
    tokens_per_step: tuple[float, float]
    seconds_per_step: float
    seconds: float

    @property
    def num_bytes(self) -> float:
        """Memory that is needed at most."""
        return sum(line.bytes for line in self.memory)

    @property
    def learned_share(self) -> float:
        """Of all parameters."""
        return self.num_learned / self.num_parameters


def forecast(
    architecture: PreTrainedConfig,
    way: Way,
    work: Workload,
    clock: Clock,
    *,
    program_bytes: float,
    roughly: bool = False,
) -> Forecast:
    """Forecast a training from the shapes of a model and the forests of its data; nothing is loaded.

    Args:
        architecture: The model's configuration.
        way: How it is tuned.
        work: What the data ask.
        clock: Knows how long operations take on the device.
        program_bytes: Memory of the program itself there.
        roughly: Run one small forest only, and take what comes and goes as proportional to its tokens.

    Raises:
        ModelError: The method does not fit the model.
    """
    sketch = Sketch(architecture, way)
    several = work.num_forests > 1
    most = simulate(sketch, portion(work.largest, _FEW_TOKENS) if roughly else work.largest, accumulated=several)
    same = roughly or work.usual is work.largest
    usual = most if same else simulate(sketch, work.usual, accumulated=several)
    per_step, later = _seconds(usual, work, clock, kept=_kept_layers(sketch))
    if way.objective.type == "distill":  # the sketch is its own teacher: a forward pass of four, the backward being two
        share = (3 + way.teacher[0] / sketch.num_parameters) / 4
        per_step, later = per_step * share, later * share
    first_epoch = min(work.num_steps, work.steps_per_epoch)
    validating = work.num_validations * _seconds_of(
        usual, clock, work.validation_tokens, work.validation_targets
    ) * FORWARD_SHARE  # fmt: skip
    return Forecast(
        num_parameters=sketch.num_parameters,
        num_learned=sketch.num_learned,
        memory=tuple(_lines(sketch, most, work, program_bytes)),
        num_steps=work.num_steps,
        tokens_per_step=(work.tokens, work.source_tokens),
        seconds_per_step=per_step,
        seconds=first_epoch * per_step + (work.num_steps - first_epoch) * later + validating,
    )


def _lines(sketch: Sketch, step: Simulated, work: Workload, program_bytes: float) -> list[Line]:
    memory, tokens = step.memory, len(work.largest.layout)
    times = tokens / len(step.forest.layout)
    transient = (memory.peak - memory.states - memory.gradients) * times + sketch.written_out_bytes
    held, libraries = _held(sketch)
    beside = held * (transient + memory.gradients) + libraries
    activations = min(memory.activations * times, transient)
    number, size = sketch.way.teacher

    def line(name: str, num_bytes: float, key: str, **values: Any) -> Line:
        return Line(name, num_bytes, said(lambda words: words(f"plan.from.{key}", **values)))

    return [
        line("the program", program_bytes, "program"),
        Line("weights", sketch.weight_bytes, said(lambda words: _weights(sketch, words))),
        *([line("teacher", size, "parameters", number=number)] if number else []),
        line("gradients", memory.gradients, "learned", number=sketch.num_learned),
        line("optimiser", memory.states, "optimiser", type=sketch.way.optimizer.type),
        line("activations", activations, "activations", tokens=tokens),
        line("temporary", transient - activations, "temporary"),
        line("allocator", beside, "held.libraries" if libraries else "held", share=held),
    ]


def _weights(sketch: Sketch, words: Wording) -> str:
    text = words("plan.from.parameters", number=sketch.num_parameters)
    if sketch.num_quantized:
        text += words("plan.from.quantized", number=sketch.num_quantized, format=sketch.way.quantization)
    return text + words("plan.from.mapped") if sketch.way.map_weights else text


def _held(sketch: Sketch) -> tuple[float, float]:
    """What the allocator holds, as a share of what comes and goes; and bytes of libraries at work."""
    if sketch.way.device != "cpu":
        return HELD_SHARE_GPU, 0.0
    if sketch.num_quantized or getattr(sketch.way.method, "dora", False):  # DoRA: for the norms of the tuned weights
        return HELD_SHARE_WRITTEN, LIBRARIES_BYTES
    most_learns = sketch.num_learned > sketch.num_parameters / 2
    return HELD_SHARE if most_learns or num_fused(sketch.adapted, wholly=True) else HELD_SHARE_UNFUSED, LIBRARIES_BYTES


def _kept_layers(sketch: Sketch) -> int:
    """Layers below the lowest one that learns, where a method keeps what they give for later epochs."""
    if sketch.method.keep_states is None:
        return 0
    return min(sketch.learning_layers(), default=0)


def _seconds(step: Simulated, work: Workload, clock: Clock, *, kept: int) -> tuple[float, float]:
    """Seconds of a step in the first epoch, and in later ones."""
    update = clock.seconds(step.update)
    saved = work.tokens / len(step.forest.layout) * sum(
        clock.seconds(calls) for indices, calls in step.layers if indices[-1] < kept
    )  # fmt: skip
    whole = _seconds_of(step, clock, work.tokens, work.targets) + update
    return whole, whole - saved


def _seconds_of(step: Simulated, clock: Clock, tokens: float, targets: float) -> float:
    """Seconds of forward and backward passes over so many tokens, with so many targets."""
    in_layers: list[Mapping[Call, float]] = [calls for _, calls in step.layers]
    return (
        tokens / len(step.forest.layout) * sum(map(clock.seconds, in_layers))
        + targets / max(1, len(step.forest.targets)) * clock.seconds(step.rest)
    )  # fmt: skip
