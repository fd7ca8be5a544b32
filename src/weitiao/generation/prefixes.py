"""What was computed of earlier sequences, found again by the longest common beginning."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from weitiao.forest.layout import Ints, common_prefix_length
from weitiao.generation.parts import Part, Prefix, cut

BLOCK = 32
"""Where sequences part, what they share ends at a multiple of so many tokens. Those that begin with the same system
prompt then share the same piece of it, though some have a word more in common."""


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    whose: Hashable
    tokens: Ints
    parts: tuple[Part, ...]


class Prefixes:
    """A bounded store of keys and values; what was not used for longest goes first.

    Args:
        limit_bytes: Memory that they may take together; 0 keeps nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._known: list[_Known] = []  # the one used last is the last
        self._sizes: dict[Prefix, int] = {}

    def find(self, whose: Hashable, tokens: Ints) -> tuple[Part, ...]:
        """The longest known beginning of a sequence, short of its last token: that one is still to be run.

        Args:
            whose: Under what `put` had it: keys and values of one adapter are nothing to another.
            tokens: The sequence.
        """
        best, length = None, 0
        for known in self._known:
            if known.whose == whose and (common := self._usable(known, tokens)) > length:
                best, length = known, common
        if best is None:
            return ()
        self._known.remove(best)
        self._known.append(best)
        return cut(best.parts, length)

    def put(self, whose: Hashable, tokens: Ints, parts: Sequence[Part]) -> None:
        """Keep what was computed of a sequence: its parts are all of its tokens."""
        kept = _Known(whose, tokens, tuple(parts))
        self._sizes |= {part.prefix: part.prefix.nbytes for part in parts if part.prefix not in self._sizes}
        self._known = [one for one in self._known if not _goes_on(kept, one)]
        self._known.append(kept)
        while self._known and self.nbytes > self._limit_bytes:
            del self._known[0]
        self._let_go()

    def forget(self, whose: Hashable) -> None:
        """Let go of what belongs to an adapter."""
        self._known = [known for known in self._known if known.whose != whose]
        self._let_go()

    @property
    def nbytes(self) -> int:
        """Memory of all that is kept."""
        return sum(self._sizes[prefix] for prefix in self._kept())

    def _let_go(self) -> None:
        self._sizes = {prefix: self._sizes[prefix] for prefix in self._kept()}

    def _kept(self) -> set[Prefix]:
        return {part.prefix for known in self._known for part in known.parts}

    @staticmethod
    def _usable(known: _Known, tokens: Ints) -> int:
        common = min(common_prefix_length(known.tokens, tokens), len(tokens) - 1)
        return common if common == len(known.tokens) else common // BLOCK * BLOCK


def _goes_on(longer: _Known, known: _Known) -> bool:
    """Whether a sequence begins with all of another, by the same keys and values."""
    return longer.whose == known.whose and longer.parts[: len(known.parts)] == known.parts
