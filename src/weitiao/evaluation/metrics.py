"""Whether an answer is right, and how sure the share of right answers is."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import Literal

Normalization = Literal["none", "whitespace", "casefold"]

_Z_95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of n rows with its 95 % confidence interval.

    Attributes:
        value: The share, 0 to 1.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: How many rows.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.1%} (95 % interval {self.low:.1%} to {self.high:.1%}, n = {self.n:,})"


def proportion(num_successes: int, n: int) -> Proportion:
    """The share `num_successes / n` with its 95 % Wilson score interval.

    Unlike the interval of the normal approximation it holds for small n and for shares at 0 and 1, which scores
    before and after tuning often are. Source: E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22 (1927): the p for which `|share - p| <= z sqrt(p (1 - p) / n)`.

    Args:
        num_successes: How many of the n.
        n: At least 1.
    """
    assert 0 <= num_successes <= n > 0
    share, z2 = num_successes / n, _Z_95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half_width = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    # At the ends the formula gives 0 and 1 only up to rounding.
    low = 0.0 if num_successes == 0 else center - half_width
    high = 1.0 if num_successes == n else center + half_width
    return Proportion(share, low, high, n)


def normalized(text: str, normalization: Normalization) -> str:
    """What of an answer counts in the comparison.

    Args:
        text: An answer.
        normalization: `none` leaves it; `whitespace` strips both ends and brings equivalent Unicode spellings to one
            (NFC: an accented letter as one code point or as two is the same text); `casefold` also ignores case, as
            the caseless match of the Unicode Standard, section 3.13, does.
    """
    if normalization == "none":
        return text
    text = text.strip()
    if normalization == "casefold":
        text = unicodedata.normalize("NFD", text).casefold()
    return unicodedata.normalize("NFC", text)
