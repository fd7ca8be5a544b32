"""Labels: whether answers are a closed set, and which rare ones are a frequent one misspelled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from weitiao.quality.findings import Place
from weitiao.text.folding import fold

_MOST_LABELS = 5_000
_LEAST_ROWS_PER_LABEL = 5
_RARE_SHARE = 0.05
_LEAST_LENGTH = 5
_PLACES_NAMED = 200


class LabelCounts:
    """Counts the answers of rows as long as they may be a closed set of labels."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._places: dict[str, list[Place]] = {}
        self._num_rows = 0
        self._open = False

    def add(self, labels: Sequence[str | None], places: Sequence[Place]) -> None:
        """Counts a batch; None is an answer too long for a label, or none at all."""
        if self._open:
            return
        for label, place in zip(labels, places, strict=True):
            self._num_rows += 1
            if label is None:
                continue
            count = self.counts.get(label, 0)
            self.counts[label] = count + 1
            if count < _PLACES_NAMED:
                self._places.setdefault(label, []).append(place)
        if len(self.counts) > _MOST_LABELS:
            self._open = True
            self.counts, self._places = {}, {}

    @property
    def closed(self) -> dict[str, int]:
        """The labels with their counts; empty when the answers are no closed set."""
        return self.counts if not self._open and is_closed(self.counts, self._num_rows) else {}

    def places(self, label: str) -> list[Place]:
        """Where a label stands, the first 200 rows."""
        return self._places.get(label, [])


def is_closed(counts: Mapping[str, int], num_rows: int) -> bool:
    """Whether answers are labels: nine of ten rows have a short one, and each stands in five rows on average.

    Args:
        counts: How often each short answer stands.
        num_rows: All rows.
    """
    total = sum(counts.values())
    return bool(counts) and total * 10 >= num_rows * 9 and total >= _LEAST_ROWS_PER_LABEL * len(counts)


def find_typos(counts: Mapping[str, int]) -> dict[str, str]:
    """Which rare labels are a frequent one misspelled.

    A label is rare next to one that is twenty times as frequent. They are taken for one when they differ in case,
    spaces or punctuation only, or in one edit (two from ten characters on; an edit inserts, removes, replaces a
    character or swaps two). Labels that differ in digits are not: `level 1` and `level 2`.

    Args:
        counts: How often each label of a closed set stands.

    Returns:
        The frequent label of each rare one that has one.
    """
    from rapidfuzz.distance import OSA

    frequent = sorted(counts, key=lambda label: (-counts[label], label))
    folded = {label: fold(label).replace(" ", "") for label in counts}
    typos: dict[str, str] = {}
    for rare in frequent:
        for label in frequent:
            if counts[rare] > max(1, counts[label] * _RARE_SHARE) or counts[label] <= counts[rare]:
                break
            same = folded[rare] == folded[label]
            edits = 0 if min(len(rare), len(label)) < _LEAST_LENGTH else 1 + (len(label) >= 10)
            near = edits and OSA.distance(folded[rare], folded[label], score_cutoff=edits) <= edits
            if same or (near and _digits(rare) == _digits(label)):
                # `label` was gone through before and may itself be a misspelling.
                typos[rare] = typos.get(label, label)
                break
    return typos


def _digits(label: str) -> list[str]:
    return re.findall(r"\d+", label)
