"""Findings that relate rows: duplicates, contradictions, leaks, and their near forms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weitiao.quality.findings import Finding, Findings, Problem
from weitiao.quality.labels import find_typos
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import PARTS
from weitiao.quality.table import RowTable
from weitiao.text.near import near_duplicates, similar_to

_LEAK_PAIRS = (
    *((part, other) for part in ("train", "replay") for other in ("validation", "test", "against")),
    ("validation", "test"),
)
_TYPOS_NAMED = 200


class Relation(NamedTuple):
    """Rows that relate to another one: `rows[i]` to `others[i]`, indices into the table; `rows` ascending."""

    rows: NDArray[np.int64]
    others: NDArray[np.int64]


class SameInput(NamedTuple):
    """Rows with the input of an earlier row of their part.

    Attributes:
        equal: Those with an answer that came before with this input, each with the first row that has both.
        other_answer: The rest, each with the first row that has the input.
    """

    equal: Relation
    other_answer: Relation


def same_input(table: RowTable, rows: NDArray[np.int64], answer_keys: NDArray[np.uint64]) -> SameInput:
    """Finds rows whose folded input came before.

    Args:
        table: The rows.
        rows: Which of them to compare, ascending.
        answer_keys: A key per row of the table.
    """
    rows = rows[table.rows["input_key"][rows] != 0]
    inputs, answers = table.rows["input_key"][rows], answer_keys[rows]
    order = np.lexsort((rows, answers, inputs))
    ordered = rows[order]
    new_input = _begins(inputs[order])
    new_pair = new_input | _begins(answers[order])
    first_of_pair = ordered[np.maximum.accumulate(np.where(new_pair, np.arange(len(ordered)), 0))]
    # Within an input, rows are sorted by answer: the earliest row of all is the least of them.
    groups = np.cumsum(new_input) - 1
    earliest = np.full(groups[-1] + 1 if len(groups) else 0, np.iinfo(np.int64).max)
    np.minimum.at(earliest, groups, ordered)
    first_of_input = earliest[groups] if len(groups) else ordered
    equal = ~new_pair
    other = new_pair & (ordered != first_of_input)
    return SameInput(_relation(ordered[equal], first_of_pair[equal]), _relation(ordered[other], first_of_input[other]))


def leaks(table: RowTable, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> tuple[Relation, NDArray[np.int64]]:
    """Rows that ask what one of some other rows asks.

    Args:
        table: All rows.
        ours: The rows.
        theirs: The other rows.

    Returns:
        The rows, each with the first of the other rows that has one of its keys; and all such other rows.
    """
    our_rows, our_keys = _all_keys(table, ours)
    their_rows, their_keys = _all_keys(table, theirs)
    if not len(their_keys):
        return Relation(ours[:0], ours[:0]), ours[:0]
    order = np.lexsort((their_rows, their_keys))
    sorted_keys = their_keys[order]
    at = np.minimum(np.searchsorted(sorted_keys, our_keys), len(sorted_keys) - 1)
    hit = sorted_keys[at] == our_keys
    rows, others = our_rows[hit], their_rows[order][at[hit]]
    first = np.lexsort((others, rows))
    rows, others = rows[first], others[first]
    single = _begins(rows)
    return Relation(rows[single], others[single]), np.unique(their_rows[np.isin(their_keys, our_keys)])


def near_leaks(
    table: RowTable,
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
    *,
    exact: NDArray[np.int64],
    threshold: float,
) -> Relation:
    """Rows whose input is similar to that of one of some other rows, without those (`exact`) where it is equal."""
    ours = ours[table.rows["input_signed"][ours] & ~np.isin(ours, exact)]
    theirs = theirs[table.rows["input_signed"][theirs]]
    return Relation(*similar_to(table.input_signatures, ours, theirs, threshold=threshold))


def near_twins(
    table: RowTable, rows: NDArray[np.int64], answer_keys: NDArray[np.uint64], *, threshold: float
) -> Relation:
    """Rows similar to an earlier row that stays; with an answer as short as a label, only to one with the same."""
    classes = np.where(table.rows["short"], answer_keys, np.uint64(0)).astype(np.uint64)
    rows = rows[table.rows["signed"][rows]]
    return Relation(*near_duplicates(table.signatures, rows, threshold=threshold, classes=classes))


def find_across(table: RowTable, settings: CheckSettings, findings: Findings) -> None:
    """Adds all findings that relate rows."""
    _add_leaks(table, settings, findings)
    for part in PARTS[:-1]:
        rows = table.rows_of(part)
        if not len(rows):
            continue
        same = same_input(table, rows, table.rows["answer_key"])
        # A row is of one of these kinds: what it repeats as a whole is no contradiction.
        other = same.other_answer
        if "duplicate" in settings.kinds:
            _add(findings, table, same.equal, Problem("duplicate", "repeats an earlier row"))
        if settings.available("near_duplicate"):
            unlike = rows[~np.isin(rows, same.equal.rows)]
            near = near_twins(table, unlike, table.rows["answer_key"], threshold=settings.near_threshold)
            _add(findings, table, near, Problem("near_duplicate", "is almost an earlier row"))
            left = ~np.isin(other.rows, near.rows)
            other = Relation(other.rows[left], other.others[left])
        if "contradiction" in settings.kinds:
            _add_contradictions(table, other, findings)
        if settings.available("label_typo"):
            _add_typos(table, part, findings)


def _add_leaks(table: RowTable, settings: CheckSettings, findings: Findings) -> None:
    for part, other in _LEAK_PAIRS:
        ours, theirs = table.rows_of(part), table.rows_of(other)
        for file in np.unique(table.file[theirs]).tolist():
            in_file = theirs[table.file[theirs] == file]
            name = table.files[file][1] if other == "against" else f"{table.files[file][1]} ({other})"
            exact, their_rows = leaks(table, ours, in_file)
            if "leak" in settings.kinds:
                problem = Problem("leak", f"has the input of a row of {name}")
                _add(findings, table, exact, problem, num_others=len(their_rows))
            if settings.available("near_leak"):
                threshold = settings.near_threshold
                near = near_leaks(table, ours, in_file, exact=exact.rows, threshold=threshold)
                _add(findings, table, near, Problem("near_leak", f"its input is almost that of a row of {name}"))


def _add_contradictions(table: RowTable, relation: Relation, findings: Findings) -> None:
    answered = (table.rows["answer_key"][relation.rows] != 0) & (table.rows["answer_key"][relation.others] != 0)
    both_short = table.rows["short"][relation.rows] & table.rows["short"][relation.others]
    short = Problem("contradiction", "answers the input of an earlier row differently")
    long = Problem(
        "contradiction", "answers the input of an earlier row in other words, or differently", severity="info"
    )
    for problem, chosen in ((short, answered & both_short), (long, answered & ~both_short)):
        _add(findings, table, Relation(relation.rows[chosen], relation.others[chosen]), problem)


def _add_typos(table: RowTable, part: str, findings: Findings) -> None:
    labels, rows = table.labels[part], table.rows_read_as(part)
    for rare, label in find_typos(labels.closed(rows)).items():
        for row in labels.rows_with(rare, rows)[:_TYPOS_NAMED].tolist():
            reason = f"the label {rare!r} looks like {label!r}, which is far more frequent"
            findings.add(table.place(row)._replace(part=part), Problem("label_typo", reason, "answer", rare))


def _add(
    findings: Findings, table: RowTable, relation: Relation, problem: Problem, *, num_others: int | None = None
) -> None:
    others_of: dict[str, tuple[Finding, set[int]]] = {}
    for row, other in zip(relation.rows.tolist(), relation.others.tolist(), strict=True):
        place = table.place(row)
        finding = findings.add(place, problem, other=table.place(other))
        others_of.setdefault(place.file, (finding, set()))[1].add(other)
    for finding, others in others_of.values():
        finding.num_others = len(others) if num_others is None or len(others_of) > 1 else num_others


def _all_keys(table: RowTable, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """All keys of rows, each with its row."""
    more = np.isin(table.more_rows, rows)
    rows = rows[table.rows["input_key"][rows] != 0]
    return (
        np.concatenate([rows, table.more_rows[more]]),
        np.concatenate([table.rows["input_key"][rows], table.more_keys[more]]),
    )


def _begins(values: NDArray) -> NDArray[np.bool_]:
    """Where a value differs from the one before it; true at the first."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return begins


def _relation(rows: NDArray[np.int64], others: NDArray[np.int64]) -> Relation:
    order = np.argsort(rows, kind="stable")
    return Relation(rows[order], others[order])
