"""How long a piece of work will still take: from what is done of it, and not before that tells anything."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class TimeLeft:
    """Estimates the time left from the work that is done.

    Answers of a batch end one by one towards the end of its time, and nobody knows how long they get: the first one
    tells nothing, the first whole batch does. So the speed is measured whenever a further grain of the work is
    complete, and between two grains the time only runs on.

    Args:
        grain: How much of the work is begun and ended together, in the unit that it is counted in.
        clock: Seconds, for tests.
    """

    def __init__(self, grain: float, *, clock: Callable[[], float] | None = None) -> None:
        self._grain, self._clock = grain, clock or time.monotonic
        self._begun = self._clock()
        self._grains = 0
        self._end: float | None = None

    def __call__(self, done: float, total: float) -> float | None:
        """Seconds left; None as long as nothing tells.

        Args:
            done: How much of the work is done.
            total: All of it.
        """
        now = self._clock()
        if (grains := math.floor(done / self._grain)) > self._grains:
            self._grains = grains
            self._end = self._begun + (now - self._begun) / done * total
        if self._end is None or done >= total or now >= self._end:  # slower than before: the next grain tells anew
            return None
        return self._end - now


def left_in_words(seconds: float | None) -> str:
    """`about 40 s left`, `about 3 min left`, `about 2 h 5 min left`; empty when nothing is known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes < 90 else f"about {minutes // 60} h {minutes % 60} min left"
