"""The layout against a brute-force reading of "a token sees what lies before it in its own sequence"."""

from __future__ import annotations

import random

import numpy as np
import pytest

from weitiao.forest.layout import Forest, build_forest, common_prefix_length
from weitiao.forest.masks import dense_mask
from weitiao.rendering.items import TokenSequence, as_items


def sequence(name: str, token_ids: list[int], weights: list[float] | None = None) -> TokenSequence:
    return TokenSequence.of(name, tuple(token_ids), tuple(weights or [0.0] + [1.0] * (len(token_ids) - 1)))


def random_family(rng: random.Random) -> list[TokenSequence]:
    """Sequences with shared beginnings of all kinds: duplicates and prefixes of one another among them."""
    made: list[list[int]] = []
    for _ in range(rng.randint(1, 9)):
        stem = rng.choice(made)[: rng.randint(0, 6)] if made and rng.random() < 0.8 else []
        ids = stem + [rng.randint(0, 3) for _ in range(rng.randint(1, 5))]
        made.append(ids if len(ids) > 1 else [*ids, 0])
    return [
        sequence(f"row{i}", ids, [0.0] + [rng.choice([0.0, 0.5, 1.0]) for _ in ids[1:]]) for i, ids in enumerate(made)
    ]


def visible_text(forest: Forest, place: int) -> list[int]:
    """The tokens that a place sees, itself included, in row order."""
    return forest.layout.token_ids[dense_mask(forest.layout)[place].numpy()].tolist()


@pytest.mark.parametrize("seed", range(60))
def test_every_target_sees_exactly_its_own_sequence_up_to_the_token_before_it(seed: int) -> None:
    family = random_family(random.Random(seed))
    for share in (True, False):
        forest = build_forest(as_items(family), share_prefixes=share)
        by_id = {s.row_id: s for s in family}
        found: dict[str, list[tuple[int, float]]] = {row_id: [] for row_id in forest.row_ids}
        targets = forest.targets
        for n in range(len(targets)):
            row_id = forest.row_ids[forest.target_items[n]]
            context = visible_text(forest, int(targets.positions[n]))
            source = by_id[row_id]
            assert context == source.token_ids[: len(context)].tolist()
            assert targets.labels[n] == source.token_ids[len(context)]
            found[row_id].append((len(context), float(targets.weights[n])))
        for source in family:
            assert found[source.row_id] == [(i, w) for i, w in enumerate(source.weights) if w]


@pytest.mark.parametrize("seed", range(60))
def test_a_shared_forest_is_the_prefix_tree_of_its_sequences(seed: int) -> None:
    family = random_family(random.Random(seed))
    needed = {s.row_id: max((i for i, w in enumerate(s.weights) if w), default=1) for s in family}
    prefixes = {tuple(s.token_ids[:n].tolist()) for s in family for n in range(1, needed[s.row_id] + 1)}
    forest = build_forest(as_items(family))
    assert len(forest.layout) == len(prefixes)
    assert {tuple(visible_text(forest, i)) for i in range(len(forest.layout))} == prefixes
    assert forest.layout.position_ids.tolist() == [len(visible_text(forest, i)) - 1 for i in range(len(forest.layout))]
    assert forest.num_source_tokens == sum(map(len, family))


@pytest.mark.parametrize("seed", range(20))
def test_segments_cover_the_row_and_say_the_same_as_the_mask(seed: int) -> None:
    forest = build_forest(as_items(random_family(random.Random(seed))))
    size = len(forest.layout)
    mask = np.zeros((size, size), bool)
    for s in forest.layout.segments:
        mask[s.start : s.end, s.start : s.end] = np.tril(np.ones((s.end - s.start,) * 2, bool))
        mask[s.end : s.subtree_end, s.start : s.end] = True
    assert np.array_equal(mask, dense_mask(forest.layout).numpy())
    assert [s.start for s in forest.layout.segments[1:]] == [s.end for s in forest.layout.segments[:-1]]


def test_without_sharing_each_sequence_stands_alone_in_the_given_order() -> None:
    forest = build_forest(as_items([sequence("b", [5, 6]), sequence("a", [5, 6, 7])]), share_prefixes=False)
    assert forest.layout.token_ids.tolist() == [5, 5, 6]  # the last tokens predict nothing
    assert forest.layout.position_ids.tolist() == [0, 0, 1]
    assert forest.layout.subtree_end.tolist() == [1, 3, 3]
    assert forest.row_ids == ("b", "a")


def test_the_window_counts_depth_not_place_in_the_row() -> None:
    forest = build_forest(as_items([sequence("a", [1, 2, 3, 4, 0]), sequence("b", [1, 2, 9, 9, 0])]))
    mask = dense_mask(forest.layout, sliding_window=2).numpy()
    last = len(forest.layout) - 1
    assert np.flatnonzero(mask[last]).tolist() == [last - 1, last]
    assert np.flatnonzero(mask[last - 1]).tolist() == [1, last - 1]  # sees token 2 of the shared beginning, not token 1


@pytest.mark.parametrize("seed", range(20))
def test_common_prefix_length_equals_a_plain_count(seed: int) -> None:
    rng = random.Random(seed)
    a = tuple(rng.randint(0, 1) for _ in range(rng.randint(0, 12)))
    b = a[: rng.randint(0, 12)] + tuple(rng.randint(0, 1) for _ in range(rng.randint(0, 5)))
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    assert common_prefix_length(a, b) == count
