"""Labels: whether answers are a closed set, and which rare ones are a frequent one misspelled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weitiao.data.formats.columns import is_closed
from weitiao.text.folding import fold

_MOST_LABELS = 5_000
_RARE_SHARE = 0.05
_LEAST_LENGTH = 5


class Labels(NamedTuple):
    """The answers of rows, where they are as short as labels: index in `names`, or -1; no names for too many."""

    ids: NDArray[np.int32]
    names: Sequence[str]

    def closed(self, rows: NDArray[np.int64]) -> dict[str, int]:
        """How often each label stands at some rows; empty when the answers are no closed set."""
        ids, numbers = np.unique(self.ids[rows] if self.names else [], return_counts=True)
        counts = {self.names[at]: number for at, number in zip(ids.tolist(), numbers.tolist(), strict=True) if at >= 0}
        return counts if is_closed(counts, len(rows)) else {}

    def rows_with(self, label: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that have a label."""
        found: NDArray[np.int64] = rows[self.ids[rows] == self.names.index(label)]
        return found


class LabelNames:
    """Numbers the answers of rows; given up when there are too many for labels."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def __call__(self, labels: Sequence[str | None]) -> NDArray[np.int32]:
        """The numbers of a batch; -1 for None: an answer too long for a label, or none at all."""
        full = len(self._ids) > _MOST_LABELS
        ids = [-1 if label is None or full else self._ids.setdefault(label, len(self._ids)) for label in labels]
        return np.array(ids, dtype=np.int32)

    @property
    def names(self) -> list[str]:
        """The answers by their numbers; none when there are too many."""
        return list(self._ids) if len(self._ids) <= _MOST_LABELS else []


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
