"""What readers left out, or took for something else: counted, with the first place, and said."""

from __future__ import annotations


class Notes:
    """Counts by what there is to say."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, place: str) -> None:
        """Counts one more row.

        Args:
            what: What is true of the row, as the end of a sentence about rows: "hold ...".
            place: Where it stands; only the first place is kept.
        """
        count, first = self._found.get(what, (0, place))
        self._found[what] = (count + 1, first)

    def lines(self, file: str = "") -> tuple[str, ...]:
        """One line per kind; `file` stands before the place of the first row."""
        return tuple(
            f"rows that {what}: {count:,} (first: {file}{place})" for what, (count, place) in self._found.items()
        )
