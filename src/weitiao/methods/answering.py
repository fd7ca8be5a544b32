"""Answers of a model that may be in the middle of its training: by the fewest and fastest products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import Completion, generate, probe_answers
from weitiao.machine.hardware import detect_hardware
from weitiao.methods.fused.linear import merged_weight, read_linear
from weitiao.models.packed import can_pack, packed_linears, plain_linear
from weitiao.models.parts import evaluating

if TYPE_CHECKING:
    from torch import Tensor, nn


def answer(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    stop_ids: frozenset[int],
    on_progress: Callable[[int, int], None] | None = None,
    logprobs: bool = False,
) -> list[Completion]:
    """`generate`, in `answering`."""
    probe_answers(model, prompts, config)  # it asks for gradients of the adapters
    with evaluating(model), answering(model):
        return generate(model, prompts, config, stop_ids=stop_ids, on_progress=on_progress, logprobs=logprobs)


@contextmanager
def answering(model: nn.Module) -> Iterator[None]:
    """Inside the block, linear layers are laid out for answers (`models.packed`), with what LoRA puts beside them.

    A layer with a merged adapter is one product instead of three, and what it gives differs by rounding: by 1e-6 in
    float32. The block needs memory for the weights once more, and no gradients. Where a model cannot be packed, or is
    larger than a quarter of this machine's memory, it answers as it is; not by what is free, so that a run that goes on
    draws the same answers.

    Args:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
    """
    size = sum(weight.nbytes for weight in model.parameters())
    is_packed = can_pack(model) and size <= detect_hardware().memory_bytes / 4
    replaced = packed_linears(model, _whole) if is_packed else []
    try:
        for (parent, name, _), packed in replaced:
            setattr(parent, name, packed)
        yield
    finally:
        for (parent, name, layer), _ in replaced:
            setattr(parent, name, layer)


def _whole(layer: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """The weight and the bias of a linear layer, with its adapter if it has one that can be merged."""
    linear = read_linear(layer)
    return plain_linear(layer) if linear is None else (merged_weight((linear,)), linear.bias)
