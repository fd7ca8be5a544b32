"""How long operations take: measured here, or reckoned for a device by its data sheet."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from platformdirs import user_cache_path
from torch import Tensor

from weitiao.machine.products import keep_measured, measured_on, read_measured
from weitiao.planning.trace import VIEW, Call, Shape

_PYTHON_SECONDS = 1e-5
"""Of Python and autograd around an operation, on a CPU."""

_REPEAT_BELOW_SECONDS = 0.01
"""An operation that takes less is measured several times, and the shortest time counts."""

_CACHES_BYTES, _COLD_TIMES = 2**26, 3
"""More than the caches hold, and how often an operation is measured after so many other bytes."""

_AGAIN, _STILL = 4, 0.8
"""Of what was noted before, so many operations are measured again; all is forgotten when they now take less than this
share of what was noted: the machine was busy then."""

_TELLING_WORK = 1e6
"""Calls with less of it say nothing of how long larger ones of their name take."""

_FLASH, _FLASH_BACKWARD = (f"aten._scaled_dot_product_flash_attention_for_cpu{ending}" for ending in ("", "_backward"))


class Clock(Protocol):
    """Knows how long operations take."""

    def seconds(self, calls: Mapping[Call, float]) -> float:
        """Of operations that run so often."""
        ...


@dataclass(slots=True)
class Stopwatch:
    """Measures every operation once on this machine, on random numbers, and remembers it.

    Args:
        path: Where it remembers; None forgets.
        budget_seconds: How long it may measure in all. What is left then is reckoned from the most expensive ones of
            the same name that were measured.
    """

    path: Path | None
    budget_seconds: float
    spent_seconds: float = 0.0
    _known: dict[str, float] = field(default_factory=dict)
    _trusted: bool = False
    _other: Tensor = field(default_factory=lambda: torch.zeros(_CACHES_BYTES // 4))

    def __post_init__(self) -> None:
        if self.path is not None:
            self._known = read_measured(self.path)
        self._trusted = not self._known

    def seconds(self, calls: Mapping[Call, float]) -> float:
        """See `Clock`."""
        dearest = sorted(calls, key=lambda one: -work(one) * calls[one])
        noted = [call for call in dearest if str(call) in self._known]
        if noted and not self._trusted and self.budget_seconds:
            self._check(noted[:_AGAIN])
            self._trusted = True
        fresh = [call for call in dearest if call != VIEW and str(call) not in self._known]
        for call in fresh:
            if self.spent_seconds < self.budget_seconds:
                self._known[str(call)] = self._measure(call)
        if fresh and self.path is not None:
            keep_measured(self.path, self._known)
        rates = _rates(self._known, calls)
        return sum(
            number * (_PYTHON_SECONDS + self._known.get(str(call), work(call) * rates.get(call.name, 0.0)))
            for call, number in calls.items()
        )

    def _measure(self, call: Call) -> float:
        begun = time.perf_counter()
        seconds = _measured(call, self._other)
        self.spent_seconds += time.perf_counter() - begun
        return seconds

    def _check(self, calls: Sequence[Call]) -> None:
        """Measure operations again, and forget everything if it was noted when the machine had other work."""
        before = sum(self._known[str(call)] for call in calls)
        if sum(map(self._measure, calls)) < _STILL * before:
            self._known = {}


def stopwatch_here(*, budget_seconds: float) -> Stopwatch:
    """One that remembers what was measured on a machine like this with as many threads."""
    name = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in measured_on())
    return Stopwatch(user_cache_path("weitiao") / "operations" / f"{name}.json", budget_seconds)


@dataclass(frozen=True, slots=True)
class DataSheet:
    """Reckons by a device's data sheet: an operation takes as long as its arithmetic or its traffic, or its launch.

    Args:
        flops: Floating-point operations per second, by the name of the number format.
        bytes_per_second: Of its memory.
        shares: What is reached of the two in practice: what fits trainings on an H100 (docs/benchmarks.md).
        launch_seconds: Least time of an operation.
    """

    flops: Mapping[str, float]
    bytes_per_second: float
    shares: tuple[float, float] = (0.6, 1.0)
    launch_seconds: float = 1e-5

    def seconds(self, calls: Mapping[Call, float]) -> float:
        """See `Clock`."""
        total = 0.0
        for call, number in calls.items():
            if call == VIEW:  # nothing is launched
                continue
            shapes = call.shapes()
            dtype = str(shapes[0].dtype).removeprefix("torch.") if shapes else "float32"
            arithmetic = arithmetic_of(call) / (self.flops.get(dtype, self.flops["float32"]) * self.shares[0])
            traffic = sum(shape.num_bytes for shape in shapes) / (self.bytes_per_second * self.shares[1])
            total += number * max(self.launch_seconds, arithmetic, traffic)
        return total


def arithmetic_of(call: Call) -> float:
    """Floating-point operations of a matrix product or an attention; 0 of everything else."""
    shapes = [one for one in call.arguments if isinstance(one, Shape)]
    if call.name in (_FLASH, _FLASH_BACKWARD):
        # [..., queries, D] and [..., keys, D]: two products forward, five backward; the half of them where causal
        query, key = shapes[0 if call.name == _FLASH else 1], shapes[1 if call.name == _FLASH else 2]
        causal = any(one is True for one in call.arguments)
        products = 2 if call.name == _FLASH else 5
        return products * 2 * torch.Size(query.size).numel() * key.size[-2] * (0.5 if causal else 1.0)
    if call.name.startswith("mkldnn."):  # a linear layer: [T, I], perhaps what is added, [O, I]
        return 2 * torch.Size(shapes[0].size).numel() * shapes[-1].size[0]
    if call.name.split(".")[-1] in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "_grouped_mm") and len(shapes) >= 2:
        left, right = shapes[-2:] if "_grouped" not in call.name else shapes[:2]
        return 2 * torch.Size(left.size).numel() * right.size[-1]
    return 0.0


def work(call: Call) -> float:
    """What makes one call take longer than another of the same name: arithmetic, and traffic as much as it weighs."""
    return arithmetic_of(call) + 4 * sum(shape.num_bytes for shape in call.shapes())


def _rates(known: Mapping[str, float], calls: Iterable[Call]) -> dict[str, float]:
    """Seconds per unit of work by the names of the operations: that of its name, where one of these was measured, or
    that of all with arithmetic, or of all without. Of small calls the rate is that of making a call."""
    sums: dict[str | bool, tuple[float, float]] = {}
    for call in calls:
        if str(call) in known and work(call) >= _TELLING_WORK:
            for key in (call.name, arithmetic_of(call) > 0):
                seconds, amount = sums.get(key, (0.0, 0.0))
                sums[key] = seconds + known[str(call)], amount + work(call)
    rates = {key: seconds / amount for key, (seconds, amount) in sums.items() if amount}
    return {
        call.name: rates.get(call.name, rates.get(arithmetic_of(call) > 0, max(rates.values(), default=0.0)))
        for call in calls
    }


def _measured(call: Call, other: Tensor) -> float:
    """Seconds of an operation on random numbers: half with its arguments in the caches, half with `other` there.

    In a step weights, and what was kept for the backward pass, come from memory; what was just computed does not.
    """
    arguments, named = _real(call.arguments), {name: _real(value) for name, value in call.named}
    if call.name.endswith("_grouped_mm"):
        arguments, named = _in_even_groups(arguments, named)

    def once() -> float:
        begun = time.perf_counter()
        call.operation(*arguments, **named)
        return time.perf_counter() - begun

    warm, spent, cold = [float("inf")], 0.0, list[float]()
    with torch.no_grad():
        while spent < _REPEAT_BELOW_SECONDS:
            warm.append(once())
            spent += warm[-1] + 1e-4
        while len(cold) < _COLD_TIMES:
            other.sum()
            cold.append(once())
    return (min(warm) + statistics.median(cold)) / 2


def _in_even_groups(arguments: list[Any], named: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a product in groups, with the ends of groups that are alike: that of none would take no time."""
    left, right = arguments[:2]
    (ends,) = [one for one in (*arguments[2:3], named.get("offs")) if one is not None]
    grouped = left.shape[0] if right.ndim == 3 else right.shape[-1] if left.ndim == 3 else left.shape[-1]
    even = torch.arange(1, len(ends) + 1, dtype=ends.dtype) * grouped // len(ends)
    return [left, right, even.to(ends.dtype), *arguments[3:]], {k: v for k, v in named.items() if k != "offs"}


def _real(value: Any) -> Any:
    """The same with a tensor for every shape; whole numbers are 0, which any index may be."""
    if isinstance(value, tuple):
        return [_real(one) for one in value]
    if not isinstance(value, Shape):
        return value
    tensor = torch.empty_strided(value.size, value.stride, dtype=value.dtype)
    flat = tensor.as_strided((tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,))
    if value.dtype.is_floating_point:
        flat.normal_(std=0.1)
    else:
        flat.zero_()
    return tensor
