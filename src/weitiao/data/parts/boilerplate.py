"""What many rows share, such as an instruction or the words of a template: it does not make two rows alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from weitiao.data.parts.asked import Asked
from weitiao.text.folding import fold
from weitiao.text.minhash import shingles

_LEAST_ROWS = 10
_LEAST_SHARE_OF_LINES = 0.01
_LEAST_SHARE_OF_SHINGLES = 0.2


class Boilerplate(NamedTuple):
    """What many rows share: whole lines, and shingles of what is left without them; folded."""

    lines: frozenset[str] = frozenset()
    shingles: frozenset[str] = frozenset()

    def __or__(self, other: Boilerplate) -> Boilerplate:
        return Boilerplate(self.lines | other.lines, self.shingles | other.shingles)

    def of_own(self, text: str) -> list[str]:
        """The shingles of a row's own text that many rows do not share; none where only equality can be told."""
        return [part for part in shingles(text) if part not in self.shingles]


def find_boilerplate(rows: Iterable[Asked]) -> Boilerplate:
    """What many of some rows share: lines in at least one of a hundred, shingles in one of five, each in ten or more.

    Lines catch one of several instructions. Shingles catch words that stand in one line with what differs; there the
    share is high, for a few rows that are twins share shingles, too.

    Args:
        rows: A sample of the rows.
    """
    rows = list(rows)
    lines = Counter(line for row in rows for line in {fold(line) for text in row.texts for line in text.splitlines()})
    least = max(_LEAST_ROWS, len(rows) * _LEAST_SHARE_OF_LINES)
    shared = Boilerplate(frozenset(line for line, count in lines.items() if line and count >= least))
    parts = Counter(part for row in rows for part in shingles(own_text(row, shared)))
    least = max(_LEAST_ROWS, len(rows) * _LEAST_SHARE_OF_SHINGLES)
    return shared._replace(shingles=frozenset(part for part, count in parts.items() if count >= least))


def own_text(asked: Asked, shared: Boilerplate) -> str:
    """What of a row's input tells it apart, folded.

    Without the words of the recipe's template and without lines that many rows share, unless nothing else is there.
    """
    if asked.raw:
        return fold(asked.raw)
    if not shared.lines:
        return fold("\n".join(asked.texts))
    lines = [fold(line) for text in asked.texts for line in text.splitlines()]
    own = [line for line in lines if line not in shared.lines]
    return " ".join(own) if own and len(own) < len(lines) else fold("\n".join(asked.texts))
