"""The items that come with the program: they are what they claim to be, and the same every time."""

from __future__ import annotations

from collections import Counter
from importlib import resources

import pytest
from pydantic import ValidationError

from weitiao.retention.config import RetentionConfig
from weitiao.retention.constraints import follows
from weitiao.retention.parts import ChoicePart, InstructionPart, PassagePart
from weitiao.retention.run import SMALL, fingerprint, full_suite, retention_parts, small_suite

LARGEST_BYTES = 200_000


def choice_parts() -> list[ChoicePart]:
    return [part for part in full_suite() if isinstance(part, ChoicePart)]


def instruction_parts() -> list[InstructionPart]:
    return [part for part in full_suite() if isinstance(part, InstructionPart)]


def test_parts_have_enough_items_in_both_languages() -> None:
    sizes = {
        part.name: len(part.passages) if isinstance(part, PassagePart) else len(part.items)  # type: ignore[attr-defined]
        for part in full_suite()
    }
    assert list(sizes) == list(SMALL)
    assert all(sizes[name] >= 120 for name in ("knowledge-en", "knowledge-zh"))
    assert sizes["instructions-en"] >= 40
    assert sizes["instructions-zh"] >= 20
    assert all(sizes[name] >= 30 for name in ("arithmetic", "text-en", "text-zh"))
    assert [part.name for part in small_suite()] == list(SMALL)


def test_the_suite_is_small_and_says_its_licence() -> None:
    folder = resources.files("weitiao.retention") / "suite"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) < LARGEST_BYTES
    assert "Apache-2.0" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("part", choice_parts(), ids=lambda part: part.name)
def test_right_answers_stand_at_every_place_equally_often(part: ChoicePart) -> None:
    places = Counter(item.answer for item in part.items)
    assert max(places.values()) - min(places.values()) <= 1
    assert sorted(places) == [0, 1, 2, 3]
    order = [item.answer for item in part.items]
    assert order != sorted(order)
    assert len({item.item_id for item in part.items}) == len({item.question for item in part.items}) == len(part.items)
    assert all(len(set(item.choices)) == 4 for item in part.items)


@pytest.mark.parametrize("part", instruction_parts(), ids=lambda part: part.name)
def test_known_good_answers_meet_their_own_constraints_and_seldom_others(part: InstructionPart) -> None:
    met = [[follows(other.answer, item.constraints) for other in part.items] for item in part.items]
    assert [item.item_id for i, item in enumerate(part.items) if not met[i][i]] == []
    by_chance = sum(sum(row) - row[i] for i, row in enumerate(met)) / (len(met) * (len(met) - 1))
    assert by_chance < 0.35


def test_arithmetic_is_right_and_asks_nothing_twice() -> None:
    made = next(part for part in instruction_parts() if part.name == "arithmetic").items
    assert len({item.prompt for item in made}) == len(made)
    signs = {"sum": lambda a, b: a + b, "difference": lambda a, b: a - b, "product": lambda a, b: a * b}
    for item in made:
        numbers = [int(word) for word in "".join(c if c.isdigit() else " " for c in item.prompt).split()]
        kind = "sum" if item.item_id.startswith("story-zh") else item.item_id.removeprefix("story-").split("-")[0]
        assert int(item.answer) == signs[kind](*numbers), item
        assert int(item.answer) > 0


def test_the_items_are_the_same_every_time() -> None:
    assert fingerprint(full_suite()) == fingerprint(full_suite())
    assert fingerprint(small_suite()) != fingerprint(full_suite())
    full, small = ({item.item_id for item in parts[0].items} for parts in (full_suite(), small_suite()))  # type: ignore[attr-defined]
    assert small < full


def test_some_parts_alone() -> None:
    chosen = retention_parts(RetentionConfig(suite="small", parts=("text-en", "arithmetic"), limit=3))
    assert [part.name for part in chosen] == ["arithmetic", "text-en"]
    whole = {part.name: part for part in retention_parts(RetentionConfig(suite="small", limit=3))}
    assert fingerprint(chosen) == fingerprint([whole["arithmetic"], whole["text-en"]])
    with pytest.raises(ValidationError):
        RetentionConfig(parts=("knowledge-fr",))  # type: ignore[arg-type]
