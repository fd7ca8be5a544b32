"""What a training needs: memory, time, energy and money, each with where the figure comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedConfig

from weitiao.methods.fused.layer import num_fused
from weitiao.methods.method import PeftMethod
from weitiao.models.parts import layer_list
from weitiao.planning.seconds import Clock
from weitiao.planning.simulation import Simulated, simulate
from weitiao.planning.sketch import Sketch, Way
from weitiao.planning.trace import Call
from weitiao.planning.workload import Workload, portion
from weitiao.text.wording import Said, Wording, said

HELD_SHARES = {
    "fused": 0.12, "alone": 0.12, "own": 0.35, "dora": 0.6, "lomo": 0.6, "unfused": 0.9, "rounded": 1.25,
}  # fmt: skip
"""What malloc holds beside what lives, as a share of what comes and goes in its heap: little where fused layers use
their buffers again, where rows run one after another, or where all of a model learns, more where some of its own
parameters, vectors or bottleneck adapters do, or where gradients come and go, much where PEFT's layers make many
short-lived tensors between those that stay, most where weights are written out again and again. Measured on a CPU with
glibc (`python -m benchmarks.plan`). Blocks of 32 MiB and more, such as logits, go back as soon as they are freed."""

HELD_SHARE_GPU = 0.05
"""What PyTorch's own allocator holds on a GPU, as a share of all that comes and goes. Assumed."""

LIBRARIES_BYTES = 60 * 2**20
"""What libraries load and reserve when they first compute. Measured on a CPU."""

_FEW_TOKENS, _FEW_ALONE = 1024, 512
"""Of a forest that is run to get a rough forecast, or the memory of one whose rows run alone, each in thousands of
operations; and for the time of that."""

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
        num_ranks: Processes that train together; memory is that of each.
    """

    num_parameters: int
    num_learned: int
    memory: tuple[Line, ...]
    num_steps: int
    tokens_per_step: tuple[float, float]
    seconds_per_step: float
    seconds: float
    num_ranks: int = 1

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
    exchange_bytes_per_second: float | None = None,
    roughly: bool = False,
) -> Forecast:
    """Forecast a training from the shapes of a model and the forests of its data; nothing is loaded.

    Args:
        architecture: The model's configuration.
        way: How it is tuned.
        work: What the data ask.
        clock: Knows how long operations take on the device.
        program_bytes: Memory of the program itself there.
        exchange_bytes_per_second: How fast the ranks sum what each of them has; None leaves that time out.
        roughly: Run one small forest only, and take what comes and goes as proportional to its tokens. Of models whose
            rows run alone, forests are small in any case.

    Raises:
        ModelError: The method does not fit the model.
    """
    sketch = Sketch(architecture, way)
    largest, ordinary = work.largest, work.usual
    if sketch.runs_alone:
        largest, ordinary = portion(largest, _FEW_TOKENS), portion(ordinary, _FEW_ALONE)
    run = partial(simulate, sketch, accumulated=work.num_forests > 1, num_ranks=work.num_ranks)
    most = run(portion(largest, _FEW_TOKENS) if roughly else largest)
    usual = most if roughly or ordinary is largest else run(ordinary)
    lowest = min(sketch.learning_layers(), default=0)
    per_step, later = _seconds(usual, work, clock, kept=_kept_share(sketch, work), lowest=lowest)
    if way.objective.type == "distill":  # the sketch is its own teacher: a forward pass of four, the backward being two
        share = (3 + way.teacher[0] / sketch.num_parameters) / 4
        per_step, later = per_step * share, later * share
    if exchange_bytes_per_second is not None:
        exchanging = most.memory.gradients / exchange_bytes_per_second
        per_step, later = per_step + exchanging, later + exchanging
    first_epoch = min(work.num_steps, work.steps_per_epoch)
    validating = work.num_validations * _seconds_of(
        usual, clock, work.validation_tokens / work.num_ranks, work.validation_targets / work.num_ranks
    ) * FORWARD_SHARE  # fmt: skip
    return Forecast(
        num_parameters=sketch.num_parameters,
        num_learned=sketch.num_learned,
        memory=tuple(_lines(sketch, most, work, program_bytes)),
        num_steps=work.num_steps,
        tokens_per_step=(work.tokens, work.source_tokens),
        seconds_per_step=per_step,
        seconds=first_epoch * per_step + (work.num_steps - first_epoch) * later + validating,
        num_ranks=work.num_ranks,
    )


def _lines(sketch: Sketch, step: Simulated, work: Workload, program_bytes: float) -> list[Line]:
    memory, tokens = step.memory, len(work.largest.layout)
    times = tokens / len(step.forest.layout)
    transient = (memory.peak - memory.states - memory.gradients) * times
    on_cpu = sketch.way.device == "cpu"
    held = HELD_SHARES[_holding(sketch, step)] if on_cpu else HELD_SHARE_GPU
    beside = held * times * memory.heap + LIBRARIES_BYTES if on_cpu else held * (transient + memory.gradients)
    activations = min(memory.activations * times, transient)
    number, size = sketch.way.teacher

    def line(name: str, num_bytes: float, key: str, **values: Any) -> Line:
        return Line(name, num_bytes, said(lambda words: words(f"plan.from.{key}", **values)))

    lines = [
        line("the program", program_bytes, "program"),
        Line("weights", sketch.weight_bytes, said(lambda words: _weights(sketch, words))),
        *([line("teacher", size, "parameters", number=number)] if number else []),
        line("gradients", memory.gradients, "learned", number=sketch.num_learned),
        line("optimiser", memory.states, "optimiser", type=sketch.way.optimizer.type),
        line("activations", activations, "activations", tokens=tokens),
        line("temporary", transient - activations, "temporary"),
        line("allocator", beside, "held.libraries" if on_cpu else "held", share=held),
    ]
    if work.num_ranks > 1:
        begun = sketch.sent_bytes - sum(one.bytes for one in lines[-5:])  # the first step has not come then
        lines.append(line("exchange", max(memory.gradients, begun), "exchange", number=work.num_ranks))
    return lines


def _weights(sketch: Sketch, words: Wording) -> str:
    text = words("plan.from.parameters", number=sketch.num_parameters)
    if sketch.num_quantized:
        text += words("plan.from.quantized", number=sketch.num_quantized, format=sketch.way.quantization)
    return text + words("plan.from.mapped") if sketch.way.map_weights else text


def _holding(sketch: Sketch, step: Simulated) -> str:
    """Which share malloc holds of what comes and goes in its heap."""
    if sketch.num_quantized:
        return "rounded"
    if getattr(sketch.way.method, "dora", False):  # weights are written out for the norms of the tuned ones
        return "dora"
    if sketch.runs_alone:
        return "alone"
    if not step.memory.gradients:
        return "lomo"
    longest = int(step.forest.layout.position_ids.max()) + 1
    most_fused = 2 * num_fused(sketch.adapted, wholly=True, longest=longest) > len(layer_list(sketch.adapted))
    if sketch.num_learned > sketch.num_parameters / 2 or most_fused:
        return "fused"
    return "unfused" if isinstance(sketch.method, PeftMethod) and sketch.learns_matrices else "own"


def _kept_share(sketch: Sketch, work: Workload) -> float:
    """For which share of the tokens of an epoch there is room to keep what frozen layers give."""
    if sketch.method.keep_states is None or sketch.runs_alone:
        return 0.0
    room = sketch.method.keep_states * 2**30 / work.num_ranks
    needed = work.rank_tokens * work.steps_per_epoch * sketch.state_bytes
    return min(1.0, room / needed)


def _seconds(step: Simulated, work: Workload, clock: Clock, *, kept: float, lowest: int) -> tuple[float, float]:
    """Seconds of a step in the first epoch, and in later ones, for which so much of what frozen layers give is kept."""
    update = clock.seconds(step.update)
    saved = kept * work.rank_tokens / len(step.forest.layout) * sum(
        clock.seconds(calls) for indices, calls in step.layers if indices[-1] < lowest
    )  # fmt: skip
    whole = _seconds_of(step, clock, work.rank_tokens, work.rank_targets) + update
    return whole, whole - saved


def _seconds_of(step: Simulated, clock: Clock, tokens: float, targets: float) -> float:
    """Seconds of forward and backward passes over so many tokens, with so many targets."""
    in_layers: list[Mapping[Call, float]] = [calls for _, calls in step.layers]
    return (
        tokens / len(step.forest.layout) * sum(map(clock.seconds, in_layers))
        + targets / max(1, len(step.forest.targets)) * clock.seconds(step.rest)
    )  # fmt: skip
