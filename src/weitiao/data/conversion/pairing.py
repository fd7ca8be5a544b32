"""Pairs of a good and a bad answer to the same prompt, out of judged answers that stand anywhere in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weitiao.data.example import Judged, Preference
from weitiao.data.parts.asked import digest
from weitiao.data.reading.files import PlacedRow
from weitiao.data.reading.rows import BadRow, Row
from weitiao.data.writing.spool import Spool

Reject = Callable[[PlacedRow, BadRow], object]


class Pairs:
    """Collects judged answers, then gives preferences; holds a digest and a number per row in memory.

    Args:
        read: Turns a row into a judged answer.
        waiting: Where rows wait.
    """

    def __init__(self, read: Callable[[PlacedRow], Judged], waiting: Spool) -> None:
        self._read = read
        self._rows = waiting
        self._of_prompt: dict[bytes, list[int]] = {}

    def add(self, placed: PlacedRow) -> Judged:
        """Takes a row.

        Raises:
            BadRow: It is no judged answer.
        """
        judged = self._read(placed)
        self._rows.append([placed.file, placed.row_id, placed.row.number, placed.row.line, placed.row.data])
        number = len(self._rows) - 1
        key = digest([judged.prompt, judged.tools])
        # A bad answer is marked by the complement of its number.
        self._of_prompt.setdefault(key, []).append(number if judged.label else ~number)
        return judged

    def pairs(self, reject: Reject) -> Iterator[tuple[PlacedRow, Preference]]:
        """The first good answer to a prompt with the first bad one, the second with the second, ..., in the order in
        which the first row of each pair stands.

        Args:
            reject: Gets every row that has no partner.

        Yields:
            The row of the good answer, and the preference.
        """
        found: list[tuple[int, int]] = []
        alone: list[tuple[int, str]] = []
        for numbers in self._of_prompt.values():
            good, bad = [n for n in numbers if n >= 0], [~n for n in numbers if n < 0]
            found += zip(good, bad, strict=False)
            alone += [(n, "bad") for n in good[len(bad) :]] + [(n, "good") for n in bad[len(good) :]]
        for number, missing in sorted(alone):
            reason = f"has no partner: no other row has a {missing} answer to this prompt"
            reject(self._placed(number), BadRow("", reason))
        for good_number, bad_number in sorted(found, key=min):
            placed = self._placed(good_number)
            yield placed, _pair(self._read(placed), self._read(self._placed(bad_number)))

    def _placed(self, number: int) -> PlacedRow:
        file, row_id, row, line, data = self._rows[number]
        return PlacedRow(file, row_id, Row(row, line, data))


def _pair(good: Judged, bad: Judged) -> Preference:
    columns = {k: v for k, v in good.columns.items() if k in bad.columns and bad.columns[k] == v}
    return Preference(good.row_id, good.prompt, good.completion, bad.completion, tools=good.tools, columns=columns)
