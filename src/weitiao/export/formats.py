"""What a format is that a tuned model is exported in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weitiao.export.asking import Open
from weitiao.export.card import Loading
from weitiao.export.source import Source


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Attributes:
        name: As `--to` says it.
        bits: Of a weight; what an exported model may differ by follows from them.
        engine: What runs it, for people.
        check: Refuses the directory of a base model that cannot be written so, by that checkout of llama.cpp, if any.
        write: Writes it into a directory that is there.
        opened_by: What opens a directory that was written.
        loading: How other programs load it, for the card.
    """

    name: str
    bits: int
    engine: str
    check: Callable[[Path, Path | None], None]
    write: Callable[[Source, Path], None]
    opened_by: Callable[[Source], Open]
    loading: Loading

    @property
    def allowed(self) -> float:
        """Nats that the log-probability of a token may differ by on average: what such rounding explains.

        Of a file that was made wrongly (another layout of the heads, other positions) they differ by more than 1.
        """
        return next(nats for bits, nats in _ALLOWED if self.bits >= bits)


_ALLOWED = ((32, 0.005), (16, 0.02), (8, 0.15), (5, 0.3), (4, 0.6), (3, 1.2), (0, 3.0))


def no_check(directory: Path, llama_cpp: Path | None) -> None:
    """Of formats that every model can be written in that could be trained."""
