"""Which backend computes the attention of a forest, and why not another.

It is chosen for every call, by what the call is: a forest in which nothing is shared, or a layer without a window, may
have a faster one than its neighbours. What is chosen depends on nothing else, so the same step computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from weitiao.errors import ModelError
from weitiao.models.config import AttentionName
from weitiao.text.wording import told

Backend = Literal["blocks", "dense", "flex", "flash"]
_FASTEST_FIRST: dict[str, tuple[Backend, ...]] = {"cpu": ("blocks", "dense"), "cuda": ("flash", "flex")}


@dataclass(frozen=True, slots=True)
class Call:
    """What decides which backends can compute a call of attention.

    Attributes:
        device, dtype: Of query, key and value.
        head_dim: Size of the heads of query and key.
        value_dim: Size of the heads of value.
        window: The sliding window, where it hides part of a row.
        shared: Whether sequences of the forest share beginnings.
        learns: Whether there will be a backward pass.
        capped: Whether scores are capped.
        sinks: Whether there are sinks.
    """

    device: torch.device
    dtype: torch.dtype
    head_dim: int
    value_dim: int
    window: int | None
    shared: bool
    learns: bool
    capped: bool = False
    sinks: bool = False


def candidates(asked: AttentionName, device: torch.device) -> tuple[Backend, ...]:
    """The backends that may compute: the one that is asked for, or those of a device, fastest first."""
    assert asked != "alone", "then rows are no forest"
    return _FASTEST_FIRST.get(device.type, ("dense",)) if asked == "auto" else (asked,)


def choose(asked: AttentionName, call: Call) -> tuple[Backend, str]:
    """The first candidate that can compute a call, and why those before it cannot.

    Args:
        asked: The setting `model.attention`.
        call: What is to be computed.

    Raises:
        ModelError: None can.
    """
    hindered: dict[Backend, str] = {}
    for backend in candidates(asked, call.device):
        if (reason := _hindrance(backend, call)) is None:
            return backend, "; ".join(f"not {other}: {why}" for other, why in hindered.items())
        hindered[backend] = reason
    what = "; ".join(f"{backend} cannot be used: {why}" for backend, why in hindered.items())
    raise ModelError(f"model.attention: {what}.", "Leave model.attention out: the fastest one that can is then taken.")


def describe_choice(asked: AttentionName, calls: Iterable[Call]) -> str:
    """One line for a person: by what the attention of a training is computed, and why.

    Args:
        asked: The setting `model.attention`.
        calls: That a training makes for its longest rows. A forest of others may share nothing, or be within a window.

    Raises:
        ModelError: A call cannot be computed as asked for.
    """
    chosen: dict[Backend, str] = {}
    for call in calls:
        for one in (call, replace(call, shared=False, window=None)):
            backend, why = choose(asked, one)
            chosen.setdefault(backend, why)
    hindered = [f"{backend} ({why})" for backend, why in chosen.items() if why]
    fastest = [backend for backend, why in chosen.items() if not why]
    if hindered:
        return f"Attention: {'; '.join([*hindered, *(f'{backend} elsewhere' for backend in fastest)])}"
    key = "progress.attention.auto" if asked == "auto" else "progress.attention.asked"
    return told(lambda words: words(key, names=", ".join(fastest)))


def _hindrance(backend: Backend, call: Call) -> str | None:
    """Why a backend cannot compute a call; None where it can."""
    if backend == "blocks":
        if call.device.type != "cpu":
            return f"it is for CPUs, and the model is on {call.device.type}"
        if call.window is not None:
            return f"a sliding window of {call.window} tokens hides part of a row"
        if call.head_dim != call.value_dim:
            return f"heads of {call.head_dim} for keys and of {call.value_dim} for values"
        if call.capped:
            return "scores are capped"
    if backend == "flex" and call.learns and call.device.type == "cpu":
        return "it has no backward pass on a CPU"
    if backend == "flash":
        if call.shared:
            return "sequences share beginnings unless train.share_prefixes is false"
        if call.capped or call.sinks:
            return "scores are capped, or have sinks beside them"
        from weitiao.models.attention_flash import hindrance  # only where it is used: it takes a second

        return hindrance(call.device, call.dtype, call.head_dim, call.value_dim)
    return None
