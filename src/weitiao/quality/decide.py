"""Which rows go because of other rows, and which labels are renamed."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from weitiao.data.clean_config import CleanConfig
from weitiao.quality.across import leaks, near_leaks, near_twins, same_input
from weitiao.quality.labels import Labels, find_typos
from weitiao.quality.look import answer_key
from weitiao.quality.table import RowTable

_OTHERS = ("validation", "test", "against")


_WORDS = {
    "leak": "has the input of {}",
    "near_leak": "its input is almost that of {}",
    "contradiction": "answers the input of {} differently",
    "duplicate": "repeats {}",
    "near_duplicate": "is almost {}",
}
_KINDS = tuple(_WORDS)


class Decisions:
    """What happens to the rows of a table.

    Args:
        table: The table.
        keep: Which rows stay so far.

    Attributes:
        keep: Whether a row stays.
        renamed: The label that a row had at first, and the one that it gets.
    """

    def __init__(self, table: RowTable, keep: NDArray[np.bool_]) -> None:
        self.keep = keep.copy()
        self.renamed: dict[int, tuple[str, str]] = {}
        self._table = table
        self._kinds = np.zeros(len(keep), dtype=np.uint8)
        self._others = np.zeros(len(keep), dtype=np.int64)

    def drop(self, rows: NDArray[np.int64], others: NDArray[np.int64], kind: str) -> bool:
        """Lets rows go because of others; returns whether any was still there."""
        still = self.keep[rows]
        rows, others = rows[still], others[still]
        self._kinds[rows], self._others[rows] = _KINDS.index(kind), others
        self.keep[rows] = False
        return bool(len(rows))

    def reason(self, row: int) -> tuple[str, str]:
        """Kind and reason of a row that goes because of another."""
        kind = _KINDS[int(self._kinds[row])]
        return kind, _WORDS[kind].format(self._table.place(int(self._others[row])))


def decide(table: RowTable, keep: NDArray[np.bool_], config: CleanConfig) -> Decisions:
    """Decides about the rows of the part `train`.

    The steps are repeated until none of them changes anything, since one may give another something to do: rows whose
    labels become equal become duplicates, for instance. The rows that stay would therefore all stay again.

    Args:
        table: All rows; signatures must be there for the near forms.
        keep: Which rows stay so far; rows of other parts are not looked at. A copy is returned.
        config: What to do.

    Returns:
        The decisions.
    """
    decisions = Decisions(table, keep)
    fixes = frozenset(config.fix)
    answers = table.rows["answer_key"].copy()
    labels = table.labels["train"]
    labels = labels._replace(ids=labels.ids.copy())
    _drop_leaks(table, decisions, config, fixes)
    changed = True
    while changed:
        changed = "label_typo" in fixes and _rename(table, decisions, labels, answers)
        if "contradiction" in fixes:
            changed |= _drop_contradictions(table, decisions, answers, majority=config.contradictions == "majority")
        if "duplicate" in fixes:
            equal = same_input(table, _kept(table, decisions), answers).equal
            changed |= decisions.drop(*equal, "duplicate")
        if "near_duplicate" in fixes:
            near = near_twins(table, _kept(table, decisions), answers, threshold=config.near_threshold)
            changed |= decisions.drop(*near, "near_duplicate")
    return decisions


def _kept(table: RowTable, decisions: Decisions) -> NDArray[np.int64]:
    rows = table.rows_of("train")
    kept: NDArray[np.int64] = rows[decisions.keep[rows]]
    return kept


def _drop_leaks(table: RowTable, decisions: Decisions, config: CleanConfig, fixes: frozenset[str]) -> None:
    ours = table.rows_of("train")
    for theirs in map(table.rows_of, _OTHERS):
        exact, _ = leaks(table, ours, theirs)
        if "leak" in fixes:
            decisions.drop(*exact, "leak")
        if "near_leak" in fixes:
            near = near_leaks(table, ours, theirs, exact=exact.rows, threshold=config.near_threshold)
            decisions.drop(*near, "near_leak")


def _rename(table: RowTable, decisions: Decisions, labels: Labels, answers: NDArray[np.uint64]) -> bool:
    rows = _kept(table, decisions)
    typos = find_typos(labels.closed(rows))
    for rare, label in typos.items():
        number = labels.names.index(label)
        for row in labels.rows_with(rare, rows).tolist():
            decisions.renamed[row] = (decisions.renamed.get(row, (rare,))[0], label)
            labels.ids[row] = number
            answers[row] = answer_key(label)
    return bool(typos)


def _drop_contradictions(table: RowTable, decisions: Decisions, answers: NDArray[np.uint64], *, majority: bool) -> bool:
    """Drops rows whose short answer to an input is not the only one, or not the most frequent one."""
    rows = _kept(table, decisions)
    rows = rows[(table.rows["input_key"][rows] != 0) & (answers[rows] != 0) & table.rows["short"][rows]]
    order = np.lexsort((rows, answers[rows], table.rows["input_key"][rows]))
    rows = rows[order]
    changed = False
    for group in np.split(rows, np.flatnonzero(np.diff(table.rows["input_key"][rows])) + 1):
        if len(group) < 2 or answers[group[0]] == answers[group[-1]]:
            continue
        counts = Counter(answers[group].tolist()).most_common()
        best = counts[0][0] if majority and counts[0][1] > counts[1][1] else None
        gone = np.sort(np.array([row for row in group.tolist() if int(answers[row]) != best], dtype=np.int64))
        all_of_it = np.sort(group)
        first_other = [all_of_it[np.argmax(answers[all_of_it] != answers[row])] for row in gone.tolist()]
        others = np.array(first_other, dtype=np.int64)
        changed |= decisions.drop(gone, others, "contradiction")
    return changed
