"""Findings: problems with file, row, reason and severity, where one reason that repeats over rows is one finding."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from dataclasses import field as with_default
from typing import Any, NamedTuple

from weitiao.quality.settings import KINDS, SEVERITIES, Severity

NUM_ROWS_NAMED = 2_000
_NUM_REASONS = 50
_LONGEST_EXAMPLE = 160


class Place(NamedTuple):
    """Where a row stands.

    Attributes:
        part: `train`, `replay`, `validation`, `test` or `against`.
        file: The file as messages print it, or the hub id.
        row: The number of the row, from 1.
        line: The line on which it starts, from 1; None where the file has no lines, or none is known.
    """

    part: str
    file: str
    row: int
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.row}"


class Problem(NamedTuple):
    """What is wrong with one row.

    Attributes:
        kind: A key of `KINDS`.
        reason: What is wrong, worded so that rows with the same trouble share it.
        field: The field at fault; empty when it is the row as a whole.
        example: The text at fault.
        severity: None for that of the kind.
    """

    kind: str
    reason: str
    field: str = ""
    example: str = ""
    severity: Severity | None = None


class About(NamedTuple):
    """What a check of a text knows of its row: what the row asks, and the special tokens of the tokenizer in use."""

    question: str = ""
    special_tokens: tuple[str, ...] = ()


class Found(NamedTuple):
    """What a check finds in a text: why it is a problem, the part at fault (or the text) and, if it is not that of the
    kind, the severity."""

    reason: str
    example: str = ""
    severity: Severity | None = None


@dataclass(slots=True)
class Finding:
    """One problem, and the rows that have it.

    Attributes:
        kind: A key of `KINDS`.
        severity: `error`, `warning` or `info`.
        part: The part of the data: `train`, `replay`, `validation`, `test` or `against`.
        file: The file as messages print it, or the hub id.
        row: The first row, from 1; 0 when the file as a whole is meant.
        line: The line on which it starts, where the file has lines.
        field: The field at fault in the first row.
        reason: What is wrong.
        count: How many rows have it.
        rows: These rows, the first 2,000 of them.
        others: For findings that relate two rows, the other one of each row of `rows`, as `FILE:ROW`.
        num_others: How many different other rows there are.
        example: The text at fault in the first row, shortened.
    """

    kind: str
    severity: Severity
    part: str
    file: str
    row: int
    line: int | None
    field: str
    reason: str
    count: int = 0
    rows: list[int] = with_default(default_factory=list)
    others: list[str] = with_default(default_factory=list)
    num_others: int = 0
    example: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what only findings of two rows have is left out of the rest."""
        values = asdict(self)
        if not self.others:
            del values["others"], values["num_others"]
        return values


class Findings:
    """Collects problems into findings; bounded in memory however many rows have them.

    Attributes:
        counts: Rows with problems of each kind, and of each severity; a row counts once however many it has.
        rows_of: Rows with problems of each severity and kind.
    """

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str, str, str, str], Finding] = {}
        self._num_reasons: Counter[tuple[str, str, str]] = Counter()
        self._last_rows: dict[tuple[str, str, str, str, str], int] = {}
        self._seen: dict[tuple[str, str, str], bytearray] = {}
        self.counts: Counter[str] = Counter()
        self.rows_of: Counter[tuple[str, str]] = Counter()

    def add(self, place: Place, problem: Problem, *, other: Place | None = None) -> Finding:
        """Adds a problem of one row to its finding, which it returns; rows of one file come in their order."""
        severity = problem.severity or KINDS[problem.kind].severity
        reason = problem.reason
        key = (problem.kind, severity, place.part, place.file, reason)
        group = (problem.kind, place.part, place.file)
        if key not in self._findings and self._num_reasons[group] >= _NUM_REASONS:
            reason = f"{KINDS[problem.kind].meaning}: yet other reasons than those listed"
            key = (problem.kind, severity, place.part, place.file, reason)
        finding = self._findings.get(key)
        if finding is None:
            self._num_reasons[group] += 1
            finding = self._findings[key] = Finding(
                problem.kind, severity, place.part, place.file, place.row, place.line, problem.field, reason
            )
            finding.example = shortened(problem.example)
        if self._last_rows.get(key) == place.row:
            return finding
        self._last_rows[key] = place.row
        self.counts[problem.kind] += self._is_new("", problem.kind, place)
        self.counts[severity] += self._is_new(severity, "", place)
        self.rows_of[severity, problem.kind] += self._is_new(severity, problem.kind, place)
        finding.count += 1
        if len(finding.rows) < NUM_ROWS_NAMED:
            finding.rows.append(place.row)
            if other is not None:
                finding.others.append(str(other))
        return finding

    def _is_new(self, severity: str, kind: str, place: Place) -> bool:
        """Whether a row comes for the first time with this; a bit per row is kept."""
        bits = self._seen.setdefault((severity, kind, place.file), bytearray())
        byte, bit = place.row >> 3, 1 << (place.row & 7)
        if byte >= len(bits):
            bits.extend(bytes(max(byte + 1 - len(bits), len(bits))))
        new = not bits[byte] & bit
        bits[byte] |= bit
        return new

    def sorted(self) -> list[Finding]:
        """By severity, then in the order of `KINDS`, then by file and first row."""
        kinds = list(KINDS)
        return sorted(
            self._findings.values(),
            key=lambda one: (
                SEVERITIES.index(one.severity), kinds.index(one.kind), one.part, one.file, one.row, one.reason
            ),
        )  # fmt: skip


def shortened(text: str, limit: int = _LONGEST_EXAMPLE) -> str:
    """A text on one line, cut to a length, with what cannot be printed written as an escape."""
    text = text[: 4 * limit].encode("utf-8", errors="backslashreplace").decode("utf-8")
    line = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in "⏎".join(text.splitlines()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
