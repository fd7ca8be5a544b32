"""Other ways to tune the same model on the same data: what fits, and what to change where nothing does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedConfig

from weitiao.errors import ModelError
from weitiao.methods.bitfit import BitFitConfig
from weitiao.methods.bottleneck import AdapterConfig
from weitiao.methods.config import MethodConfig
from weitiao.methods.freeze import FreezeConfig
from weitiao.methods.full import FullConfig
from weitiao.methods.lora import LoraConfig
from weitiao.planning.forecast import Forecast, forecast
from weitiao.planning.seconds import Clock
from weitiao.planning.sketch import Way
from weitiao.planning.workload import Workload

ROOM = 0.9
"""Share of the memory that a training may be forecast to take: forecasts are up to a tenth too low."""

_SMALLEST = 64
"""A budget is halved until it fits, down to this part of it."""


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the table.

    Attributes:
        method: Type of the method.
        precision: Number format of the weights, or `nf4`.
        checkpointing: Whether layers are computed again in the backward pass instead of being kept.
        budgets: Tokens that are computed at once, and the memory in bytes that is needed with them.
        forecast: With the recipe's own budget.
    """

    method: str
    precision: str
    checkpointing: bool
    budgets: tuple[tuple[int, float], ...]
    forecast: Forecast

    def fits(self, limit_bytes: float) -> bool:
        """Whether it does with the recipe's own budget."""
        return self.forecast.num_bytes <= self.room(limit_bytes)

    @staticmethod
    def room(limit_bytes: float) -> float:
        """How much of the memory a forecast may take."""
        return ROOM * limit_bytes


def options(
    architecture: PreTrainedConfig,
    way: Way,
    work: Workload,
    clock: Clock,
    *,
    formats: Collection[str],
    program_bytes: float,
    longest: int,
) -> Iterator[Option]:
    """The recipe's own way, then others.

    Args:
        architecture, way, work, clock, program_bytes: As for `forecast`.
        formats: Number formats that the device computes in.
        longest: Tokens of the longest item; no budget is below it.
    """
    budget = way.train.token_budget
    assert isinstance(budget, int)
    for other in _ways(way, formats):
        rough = other is not way
        try:
            found = forecast(architecture, other, work, clock, program_bytes=program_bytes, roughly=rough)
        except ModelError:  # the method does not fit this model: it has not the biases that bitfit adds, for instance
            if other is way:
                raise
            continue
        shown = sorted({longest, *_budgets(budget, longest)[-1::-2][:3]})  # every quarter
        of_budgets = tuple((size, with_budget(found, size / budget)) for size in shown)
        precision, again = other.quantization or other.dtype, bool(other.train.checkpointing)
        yield Option(other.method.type, precision, again, of_budgets, found)


def recommended(rows: Sequence[Option], limit_bytes: float) -> Option | None:
    """The recipe's own way where it fits; else, of those that do, LoRA before the rest, and the fastest of them."""
    fitting = [row for row in rows if row.fits(limit_bytes)]
    if rows[0] in fitting:
        return rows[0]
    return min(fitting, key=lambda row: (row.method != "lora", row.forecast.seconds), default=None)


def settings_of(row: Option, own: Option) -> dict[str, Any]:
    """What a recipe has to say to be tuned as a row and not as its own: dotted names to values, None for a default.

    Another method learns at its usual rate: that of the recipe was chosen for its own.
    """
    found: dict[str, Any] = {}
    if row.method != own.method:
        found |= {"method": {"type": row.method}, "train.learning_rate": None}
    if row.precision != own.precision:
        rounded = row.precision == "nf4"
        found["model.quantization"] = row.precision if rounded else None
        if not rounded:
            found["model.dtype"] = row.precision
    if row.checkpointing != own.checkpointing:
        found["train.checkpointing"] = row.checkpointing or None
    return found


def fitting_budget(found: Forecast, budget: int, longest: int, limit_bytes: float) -> int | None:
    """The token budget, halved as often as it takes to fit; None where not even the longest item does."""
    sizes = reversed(_budgets(budget, longest))
    return next((size for size in sizes if with_budget(found, size / budget) <= Option.room(limit_bytes)), None)


def with_budget(found: Forecast, factor: float) -> float:
    """Memory in bytes with so many times the tokens at once; what they do not decide stays."""
    per_token = ("activations", "temporary", "allocator")
    return sum(line.bytes * (factor if line.name in per_token else 1.0) for line in found.memory)


def _budgets(budget: int, longest: int) -> list[int]:
    """The budget and its halves, down to the longest item; ascending."""
    sizes, size = {budget}, budget
    while size > longest and size * _SMALLEST > budget:
        size = max(longest, size // 2)
        sizes.add(size)
    return sorted(sizes)


def _ways(way: Way, formats: Collection[str]) -> Iterator[Way]:
    yield way
    if not way.train.checkpointing:
        yield replace(way, train=way.train.model_copy(update={"checkpointing": True}))
    long = "bfloat16" if "bfloat16" in formats else "float32"
    own = way.method if isinstance(way.method, LoraConfig) else LoraConfig()
    others: list[tuple[MethodConfig, str, bool]] = [
        (own, long, False),
        (own, long, True),
        (AdapterConfig(type="adapter"), long, False),
        (BitFitConfig(type="bitfit"), "float32", False),
        (FreezeConfig(type="freeze"), "float32", False),
        (FullConfig(type="full"), "float32", False),
    ]
    for method, dtype, rounded in others:
        if (method.type, rounded) != (way.method.type, way.quantization is not None):
            mapped = way.map_weights and not rounded
            yield replace(way, method=method, dtype=dtype, quantization="nf4" if rounded else None, map_weights=mapped)
