"""MinHash and its bands against exact Jaccard similarities of all pairs."""

from __future__ import annotations

import random

import numpy as np
import pytest

from weitiao.text.folding import NUM_PLACES, fold, shingles, signatures
from weitiao.text.near import keep_first, near_duplicates, similar_pairs, similar_to

THRESHOLD = 0.8
WORDS = [f"word{i}" for i in range(400)]
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 400)]


def texts(rng: random.Random, units: list[str], joint: str, families: int) -> list[str]:
    """Families of texts, each a copy of its first with some units replaced."""
    made = []
    for _ in range(families):
        first = rng.choices(units, k=rng.randint(40, 160))
        for _ in range(rng.randint(1, 5)):
            copy = list(first)
            for _ in range(rng.randint(0, 4)):
                copy[rng.randrange(len(copy))] = rng.choice(units)
            made.append(joint.join(copy))
    rng.shuffle(made)
    return made


def jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)


def exact_pairs(sets: list[set[str]]) -> dict[tuple[int, int], float]:
    return {(i, j): jaccard(sets[i], sets[j]) for j in range(len(sets)) for i in range(j)}


@pytest.mark.parametrize(("units", "joint"), [(WORDS, " "), (HAN, "")], ids=["English", "Chinese"])
def test_pairs_against_brute_force(units: list[str], joint: str) -> None:
    made = texts(random.Random(0), units, joint, families=220)
    parts = [shingles(fold(text)) for text in made]
    table, present = signatures(parts)
    assert present.all()
    exact = exact_pairs([set(one) for one in parts])
    pairs = similar_pairs(table, np.arange(len(made)), threshold=THRESHOLD)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    clear = {pair for pair, value in exact.items() if value >= 0.9}
    assert len(clear) > 80
    # The estimate has a standard deviation of 3.5 points at 0.8: pairs a good way above are found, those below not.
    assert len(found & clear) / len(clear) >= 0.99
    assert min(exact[pair] for pair in found) > THRESHOLD - 0.15
    truth = {pair for pair, value in exact.items() if value >= THRESHOLD}
    assert len(found & truth) / len(truth) > 0.85
    assert len(found & truth) / len(found) > 0.85


def test_the_estimate_is_unbiased() -> None:
    rng = random.Random(1)
    errors = []
    for _ in range(300):
        shared, own = rng.randint(20, 100), rng.randint(1, 40)
        base = [f"s{rng.random()}" for _ in range(shared)]
        pair = [[*base, *(f"o{rng.random()}" for _ in range(own))] for _ in range(2)]
        table, _ = signatures(pair)
        errors.append((table[0] == table[1]).mean() - shared / (shared + 2 * own))
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 1.25 * 0.5 / NUM_PLACES**0.5


def test_every_shingle_counts_once_and_order_does_not() -> None:
    table, _ = signatures([["a", "b", "c"], ["c", "a", "b"], ["a", "b", "d"]])
    assert (table[0] == table[1]).all()
    assert not (table[0] == table[2]).all()


def test_what_stays_is_unlike_and_what_goes_is_like_something_that_stays() -> None:
    made = texts(random.Random(2), WORDS, " ", families=150)
    table, _ = signatures([shingles(text) for text in made])
    gone, kept_for = near_duplicates(table, np.arange(len(made)), threshold=THRESHOLD)
    stays = np.setdiff1d(np.arange(len(made)), gone)
    agreement = (table[stays][:, None] == table[stays][None]).mean(axis=2)
    assert (agreement[np.triu_indices(len(stays), 1)] < THRESHOLD).all()
    assert np.isin(kept_for, stays).all()
    assert (kept_for < gone).all()
    assert ((table[gone] == table[kept_for]).mean(axis=1) >= THRESHOLD).all()
    again, _ = near_duplicates(table, stays, threshold=THRESHOLD)
    assert len(again) == 0


def test_large_groups_stay_linear_and_are_emptied() -> None:
    """Twelve hundred rows that differ in one word of sixty: one stays."""
    base = WORDS[:60]
    parts = [shingles(" ".join([*base[: i % 60], f"new{i}", *base[i % 60 :]])) for i in range(1_200)]
    table, _ = signatures(parts)
    gone, _ = near_duplicates(table, np.arange(len(parts)), threshold=THRESHOLD)
    stays = np.setdiff1d(np.arange(len(parts)), gone)
    assert 0 in stays
    agreement = (table[stays][:, None] == table[stays][None]).mean(axis=2)
    assert (agreement[np.triu_indices(len(stays), 1)] < THRESHOLD).all()


def test_rows_of_different_classes_are_no_pair() -> None:
    table, _ = signatures([shingles(" ".join(WORDS[:30]))] * 4)
    classes = np.array([1, 2, 1, 2], dtype=np.uint64)
    pairs = similar_pairs(table, np.arange(4), threshold=THRESHOLD, classes=classes)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 2), (1, 3)]


def test_chains_do_not_go_as_a_whole() -> None:
    """0 is like 1, 1 like 2, and so on; rows next to one that went already stay."""
    table, _ = signatures([shingles(" ".join(WORDS[i * 2 : i * 2 + 60])) for i in range(8)])
    agreement = (table[:, None] == table[None]).mean(axis=2)
    assert agreement[0, 1] >= THRESHOLD > agreement[0, 4]
    gone, _ = keep_first(similar_pairs(table, np.arange(8), threshold=THRESHOLD))
    assert 0 < len(gone) < 7


def test_rows_like_one_of_others_against_brute_force() -> None:
    made = texts(random.Random(3), WORDS, " ", families=150)
    table, _ = signatures([shingles(text) for text in made])
    ours, theirs = np.arange(0, len(made), 2), np.arange(1, len(made), 2)
    best = (table[ours][:, None] == table[theirs][None]).mean(axis=2).max(axis=1)
    rows, others = similar_to(table, ours, theirs, threshold=THRESHOLD)
    expected = ours[best >= THRESHOLD]
    assert len(expected) > 20
    assert rows.tolist() == expected.tolist()
    assert ((table[rows] == table[others]).mean(axis=1) == best[best >= THRESHOLD]).all()


def test_short_texts_have_no_shingles() -> None:
    assert shingles("where is it") == []
    assert shingles("你好吗") == []
    assert len(shingles("where is my new card")) == 3
