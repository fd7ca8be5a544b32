"""Pairs of similar rows from their signatures, in time that grows linearly with the rows.

Locality-sensitive hashing by bands (J. Leskovec, A. Rajaraman, J. Ullman, "Mining of Massive Datasets", section 3.4):
rows whose signatures agree in all places of a band are candidates, and the share of all places in which two candidates
agree decides. Candidates are found by sorting 64-bit hashes of a band, so that nothing is held per row but numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weitiao.text.folding import NUM_PLACES

_PLACES_PER_BAND = ((0.9, 8), (0.75, 5), (0.6, 4), (0.0, 2))
"""From which similarity on a band may have so many places: a pair at that similarity is then a candidate with a
probability above 0.98, and one at 0.8 above 0.9999 (5 places in 25 bands: 1 - (1 - 0.8**5)**25)."""
_NEIGHBOURS = 12
_BLOCK = 1 << 16


class Pairs(NamedTuple):
    """Pairs of similar rows: `first[i]` comes before `second[i]`, `agreement[i]` is the share of places that agree."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    agreement: NDArray[np.float64]


def places_per_band(threshold: float) -> int:
    """How many places of a signature make a band."""
    return next(places for least, places in _PLACES_PER_BAND if threshold >= least)


def similar_pairs(
    signatures: NDArray[np.uint16],
    rows: NDArray[np.int64],
    *,
    threshold: float,
    classes: NDArray[np.uint64] | None = None,
    neighbours: int = _NEIGHBOURS,
) -> Pairs:
    """Finds pairs of similar rows.

    Within a band, rows with the same hash stand side by side after sorting; each is compared with the `neighbours`
    before it and with the first. A group of one row more than that is thereby compared in full, and a larger one in
    linear time.

    Args:
        signatures: One per row, N x `NUM_PLACES`.
        rows: Which of them to compare; the order decides which are neighbours and which is `first`.
        threshold: Share of places that must agree.
        classes: One number per row of `signatures`; rows of two classes are no pair. None is one class for all.
        neighbours: With how many others of its band a row is compared, beside the first.

    Returns:
        The pairs, ordered by `second`, then `first`; none twice.
    """
    found: list[NDArray[np.int64]] = []
    agreements: list[NDArray[np.float64]] = []
    known = np.empty(0, dtype=np.uint64)
    size = places_per_band(threshold)
    for start in range(0, NUM_PLACES - size + 1, size):
        order, groups = _groups(_band_hashes(signatures, rows, start, size, classes), rows)
        for first, second in _candidates(order, groups, neighbours):
            pair = np.unique(first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64))
            new = np.setdiff1d(pair, known, assume_unique=True)
            one, two = (new >> np.uint64(32)).astype(np.int64), (new & np.uint64(0xFFFFFFFF)).astype(np.int64)
            agreement = _agreement(signatures, one, two)
            good = agreement >= threshold
            found.append(np.stack([one[good], two[good]], axis=1))
            agreements.append(agreement[good])
            known = np.union1d(known, new[good])
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    shares = np.concatenate(agreements) if agreements else np.empty(0)
    order = np.lexsort((pairs[:, 0], pairs[:, 1]))
    return Pairs(pairs[order, 0], pairs[order, 1], shares[order])


def keep_first(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows go, when of two similar rows the first stays.

    A row goes when an earlier row that stays is similar to it. That a row which goes is similar to it does not count:
    chains of ever less similar rows do not go as a whole.

    Args:
        pairs: Ordered by `second`.

    Returns:
        The rows that go, ascending, and for each the row that stays for it.
    """
    gone: dict[int, int] = {}
    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        if second not in gone and first not in gone:
            gone[second] = first
    return np.array(list(gone), dtype=np.int64), np.array(list(gone.values()), dtype=np.int64)


def near_duplicates(
    signatures: NDArray[np.uint16],
    rows: NDArray[np.int64],
    *,
    threshold: float,
    classes: NDArray[np.uint64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are similar to an earlier row that stays; among the rows that stay no similar pair is found any more.

    Args:
        signatures: One per row.
        rows: Which of them to compare, ascending.
        threshold: Share of places that must agree.
        classes: One number per row of `signatures`; rows of two classes are no pair.

    Returns:
        The rows that go, ascending, and for each the row that stays for it.
    """
    gone, kept_for = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    while True:
        left = rows[~np.isin(rows, gone)]
        # In large groups a row is compared with some of the others only: once those are gone, with yet others.
        more, reasons = keep_first(similar_pairs(signatures, left, threshold=threshold, classes=classes))
        if not len(more):
            order = np.argsort(gone, kind="stable")
            return gone[order], kept_for[order]
        gone, kept_for = np.concatenate([gone, more]), np.concatenate([kept_for, reasons])


def similar_to(
    signatures: NDArray[np.uint16], rows: NDArray[np.int64], others: NDArray[np.int64], *, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are similar to one of some others.

    Args:
        signatures: One per row, of all of them.
        rows: Which rows.
        others: Which others; a row is compared with at most twelve of those that share a band with it, for each band.
        threshold: Share of places that must agree.

    Returns:
        The rows, ascending, and for each the other one that it is most similar to.
    """
    if not len(others):
        return rows[:0], others
    best = np.zeros(len(rows))
    match = np.full(len(rows), -1, dtype=np.int64)
    size = places_per_band(threshold)
    for start in range(0, NUM_PLACES - size + 1, size):
        theirs = _band_hashes(signatures, others, start, size, None)
        order = np.argsort(theirs, kind="stable")
        theirs, ordered = theirs[order], others[order]
        for block in range(0, len(rows), _BLOCK):
            ours = _band_hashes(signatures, rows[block : block + _BLOCK], start, size, None)
            at = np.searchsorted(theirs, ours)
            for _ in range(_NEIGHBOURS):
                hit = np.flatnonzero((at < len(theirs)) & (theirs[np.minimum(at, len(theirs) - 1)] == ours))
                if not len(hit):
                    break
                agreement = _agreement(signatures, rows[block + hit], ordered[at[hit]])
                better = agreement > best[block + hit]
                best[block + hit[better]] = agreement[better]
                match[block + hit[better]] = ordered[at[hit[better]]]
                at = at + 1
    good = best >= threshold
    return rows[good], match[good]


def _band_hashes(
    signatures: NDArray[np.uint16],
    rows: NDArray[np.int64],
    start: int,
    size: int,
    classes: NDArray[np.uint64] | None,
) -> NDArray[np.uint64]:
    """64-bit hashes of the places of one band, and of the class."""
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for at in range(0, len(rows), _BLOCK):
        some = rows[at : at + _BLOCK]
        band = signatures[some, start : start + size].astype(np.uint64)
        block = np.zeros(len(band), dtype=np.uint64) if classes is None else classes[some]
        for place in range(size):
            # An odd multiplier and a shift mix 80 bits and more into 64.
            block = (block ^ (band[:, place] + np.uint64(1))) * np.uint64(0x9E3779B97F4A7C15)
            block ^= block >> np.uint64(29)
        hashes[at : at + _BLOCK] = block
    return hashes


def _groups(hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows with those of one hash side by side, and the number of the group of each."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    groups = np.zeros(len(rows), dtype=np.int64)
    if len(rows):
        groups[1:] = np.cumsum(ordered[1:] != ordered[:-1])
    return rows[order], groups


def _candidates(
    order: NDArray[np.int64], groups: NDArray[np.int64], neighbours: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of rows of one group, the earlier one first, in blocks."""
    for distance in range(1, neighbours + 1):
        if len(order) <= distance:
            return
        same = np.flatnonzero(groups[distance:] == groups[:-distance])
        if not len(same):
            return
        yield from _blocks(order[same], order[same + distance])
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    begin = starts[groups]
    far = np.flatnonzero(np.arange(len(order)) - begin > neighbours)
    if len(far):
        yield from _blocks(order[begin[far]], order[far])


def _blocks(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for at in range(0, len(first), _BLOCK):
        yield first[at : at + _BLOCK], second[at : at + _BLOCK]


def _agreement(
    signatures: NDArray[np.uint16], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    share = np.empty(len(first))
    for at in range(0, len(first), _BLOCK // 4):
        part = slice(at, at + _BLOCK // 4)
        share[part] = (signatures[first[part]] == signatures[second[part]]).mean(axis=1)
    return share
