"""What happened to the rows while they were rendered, in numbers and in sentences."""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from dataclasses import dataclass, field

from weitiao.rendering.sequence import Sequence


@dataclass(slots=True)
class _Rows:
    """How many rows something happened to, and the first of them."""

    count: int = 0
    first: str = ""

    def add(self, row_id: str) -> None:
        self.count += 1
        self.first = self.first or row_id

    def __str__(self) -> str:
        return f"{_counted(self.count, 'row')} (the first is {self.first})"


@dataclass(slots=True)
class Tally:
    """Counts what happens to rows.

    Attributes:
        longest: Length of the longest row, in tokens.
        tools_ignored: Whether the template prints nothing of the tool definitions.
    """

    longest: int = 0
    tools_ignored: bool = False
    _dropped: _Rows = field(default_factory=_Rows)
    _truncated: _Rows = field(default_factory=_Rows)
    _without_target: _Rows = field(default_factory=_Rows)
    _rewritten: _Rows = field(default_factory=_Rows)
    _special: _Rows = field(default_factory=_Rows)
    _special_text: str = ""

    @property
    def num_dropped_long(self) -> int:
        return self._dropped.count

    @property
    def num_truncated(self) -> int:
        return self._truncated.count

    @property
    def num_without_target(self) -> int:
        return self._without_target.count

    def dropped_long(self, row_id: str) -> None:
        self._dropped.add(row_id)

    def truncated(self, row_id: str) -> None:
        self._truncated.add(row_id)

    def without_target(self, row_id: str) -> None:
        self._without_target.add(row_id)

    def rewritten(self, row_id: str) -> None:
        self._rewritten.add(row_id)

    def special_text(self, row_id: str, text: str) -> None:
        self._special.add(row_id)
        self._special_text = self._special_text or text

    def lines(self, sequences: ListOf[Sequence], *, num_examples: int, limit: int, on_long: str) -> tuple[str, ...]:
        """Return the sentences that a user should read.

        Args:
            sequences: What was rendered.
            num_examples: Rows that were given.
            limit: Longest sequence allowed, in tokens.
            on_long: The policy for longer ones.
        """
        tokens = sum(len(sequence) for sequence in sequences)
        learned = sum(1 for sequence in sequences for weight in sequence.weights if weight)
        lines = [
            f"{_counted(len(sequences), 'sequence')} from {_counted(num_examples, 'row')}: "
            f"{_counted(tokens, 'token')}, {learned:,} of them supervised; the longest row has {self.longest:,}."
        ]
        if self._dropped.count:
            why = ", nothing to learn was left after truncation" if on_long == "truncate" else ""
            lines.append(f"Dropped {self._dropped}: longer than {limit:,} tokens{why}.")
        if self._truncated.count:
            lines.append(
                f"Truncated {self._truncated} to {limit:,} tokens; the end-of-turn token is cut off with the end."
            )
        if self._without_target.count:
            lines.append(f"Dropped {self._without_target}: no token of it is supervised.")
        if self._rewritten.count:
            lines.append(
                f"The template does not print an answer as it is written in {self._rewritten}: it rewrites earlier "
                "turns, for instance by removing their reasoning. rendering.turns: last learns only the last answer."
            )
        if self.tools_ignored:
            lines.append("The template prints nothing of the tool definitions in the rows.")
        if self._special.count:
            lines.append(
                f"The text of a special token, {self._special_text!r} for instance, stands in {self._special}: "
                "it becomes that token."
            )
        return tuple(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
