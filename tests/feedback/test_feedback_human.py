"""A person at the terminal: what is shown, what the keys do, and what is stored."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from weitiao.feedback.human import Session, judge_by_hand
from weitiao.feedback.items import PreferenceItem, first_shown, shuffled_items
from weitiao.feedback.store import FeedbackStore


def items(num: int = 8) -> list[PreferenceItem]:
    return [
        PreferenceItem(f"i{k}", f"row:{k}", ({"role": "user", "content": f"question-{k}"},), f"alpha-{k}", f"beta-{k}")
        for k in range(num)
    ]


def typing(*words: str) -> Callable[[], str]:
    left = iter(words)

    def read() -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read


def session(path: Path, *words: str, width: int = 120, rows: list[PreferenceItem] | None = None) -> tuple[Session, str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    found = judge_by_hand(
        rows or items(), FeedbackStore(path), judge="human", seed=3, console=console, read=typing(*words)
    )
    return found, stream.getvalue()


ORDER = shuffled_items(items(), seed=3)


def test_the_key_names_the_place_and_the_store_the_model(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    found, _ = session(path, "a", "b", "t", "a\n", " B ", "tie", "=", "a")
    assert found == Session(8, 0, 0)
    stored = FeedbackStore(path).by("human")
    assert [one.item_id for one in stored] == [item.item_id for item in ORDER]
    for key, one in zip("abtabtta", stored, strict=True):
        order = first_shown(one.item_id, seed=3)
        assert one.order == order
        assert one.choice == {"a": order[0], "b": order[1], "t": "tie"}[key]
    assert {one.order for one in stored} == {"ab", "ba"}


def test_the_models_cannot_be_told_apart_by_their_place(tmp_path: Path) -> None:
    _, text = session(tmp_path / "feedback.db", *"a" * 8)
    first_is_alpha = [text.index(f"alpha-{k}") < text.index(f"beta-{k}") for k in range(8)]
    assert first_is_alpha == [first_shown(f"i{k}", seed=3) == "ab" for k in range(8)]
    assert len(set(first_is_alpha)) == 2


@pytest.mark.parametrize("width", [120, 60])
def test_prompt_and_both_answers_are_shown(tmp_path: Path, width: int) -> None:
    _, text = session(tmp_path / "feedback.db", "q", width=width)
    item = ORDER[0]
    assert "1 of 8" in text
    for words in (f"question-{item.row_id[4:]}", item.a, item.b):
        assert words in text


@pytest.mark.parametrize("width", [120, 60])
def test_long_words_are_folded_and_not_cut(tmp_path: Path, width: int) -> None:
    long = PreferenceItem(
        "i", "row:1", ({"role": "user", "content": "?"},), '{"k":"' + "x" * 199 + '"}', "y " * 99 + "z"
    )
    _, text = session(tmp_path / "feedback.db", "q", width=width, rows=[long])
    assert (text.count("x"), text.count("y"), text.count("z")) == (199, 99, 1)
    assert "…" not in text


def test_a_session_that_is_left_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    assert session(path, "a", "a", "q")[0] == Session(2, 0, 6)
    found, text = session(path, "b")  # then the input ends
    assert found == Session(1, 0, 5)
    assert "3 of 8" in text
    assert "1 of 8" not in text
    assert session(path, *"t" * 5)[0] == Session(5, 0, 0)
    assert [one.item_id for one in FeedbackStore(path).by("human")] == [item.item_id for item in ORDER]
    assert session(path)[0] == Session(0, 0, 0)


def test_skipped_items_come_again_next_time(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    found, _ = session(path, "s", "a", "s", *"a" * 5)
    assert found == Session(6, 2, 2)
    session(path, "b", "b")
    assert {one.item_id for one in FeedbackStore(path).by("human")[-2:]} == {ORDER[0].item_id, ORDER[2].item_id}


def test_undo_takes_back_the_last_one_also_of_a_session_before(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    session(path, "a", "t", "q")
    assert session(path, "u", "u", "q")[0] == Session(0, 0, 8)
    assert FeedbackStore(path).by("human") == []
    found, text = session(path, "u", "a", "t", "u", "b", "q")
    assert "nothing to undo" in text
    assert found == Session(2, 0, 6)
    first, second = FeedbackStore(path).by("human")
    assert (first.item_id, second.item_id) == (ORDER[0].item_id, ORDER[1].item_id)
    assert second.choice == second.order[1]


def test_unknown_keys_are_explained_and_stored_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    found, text = session(path, "x", "", "yes", "a", "q")
    assert found.num_new == 1
    assert text.count("s: skip") == 3  # at the start, and for each of the two


def test_answers_that_are_the_same_are_not_asked(tmp_path: Path) -> None:
    same = PreferenceItem("same", "row:9", ({"role": "user", "content": "?"},), "x", " x\n")
    found, text = session(tmp_path / "feedback.db", *"a" * 8, rows=[*items(), same])
    assert found == Session(8, 0, 0)
    assert "of 8" in text


def test_an_answer_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    nasty = PreferenceItem("i", "row:1", ({"role": "user", "content": "?"},), "\x1b[2J\x07[red]x[/red]", "line\none")
    _, text = session(tmp_path / "feedback.db", "q", rows=[nasty])
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "[red]x[/red]" in text
    assert "one" in text
