"""From values to places, and the round numbers that an axis names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of values on an axis.

    Attributes:
        low: The value at its beginning.
        high: The value at its end, above `low`.
        logarithmic: Whether equal steps are equal factors; both ends are above 0 then.
    """

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the beginning, 1 at the end, kept between them."""
        low, high, here = self.low, self.high, value
        if self.logarithmic:
            low, high, here = math.log(low), math.log(high), math.log(max(value, self.low))
        return min(max((here - low) / (high - low), 0.0), 1.0)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the stretch, about as many as asked for."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [digit * 10.0**power for power in powers for digit in (1.0, 2.0, 5.0)]
            inside = [value for value in values if self.low <= value <= self.high]
            return inside if len(inside) <= about + 2 else [v for v in inside if f"{v:e}".startswith("1.")]
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / about))
        found = [self._multiples(power * one) for one in _ROUND]
        return min(found, key=lambda ticks: (abs(len(ticks) - about), -len(ticks)))

    def _multiples(self, step: float) -> list[float]:
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def around(values: Iterable[float], *, include: Iterable[float] = (), margin: float = 0.05) -> Scale:
    """A scale that holds all values, with a margin at both ends.

    Args:
        values: The values; at least one, counting `include`.
        include: Further values that it has to hold, zero for instance.
        margin: Share of the stretch that is added at each end.
    """
    found = [*values, *include]
    low, high = min(found), max(found)
    width = (high - low) or abs(high) or 1.0
    return Scale(low - margin * width, high + margin * width)
