"""Which solved examples of the training part stand in a prompt, as turns that were already answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice, zip_longest

from weitiao.baseline.config import Selection
from weitiao.baseline.fewshot.nearest import nearest
from weitiao.data.example import Example, Message
from weitiao.data.parts.asked import Asked, asked_by, asked_in
from weitiao.data.parts.splits import seeded_order
from weitiao.data.parts.together import twins_of
from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.answers import is_gradable
from weitiao.evaluation.classes import is_closed_label_set

Shots = tuple[Example, ...]
"""Solved examples, in the order in which they stand in the prompt."""


def with_shots(example: Example, shots: Sequence[Example]) -> Example:
    """Put solved examples before the question of a row, as turns that were already answered.

    Args:
        example: The row.
        shots: Examples with a question and an answer, in the order in which they shall stand. Of a conversation all
            turns up to the last answer are shown.

    Returns:
        The row with the further turns. Its own system turn stays first; those of the examples are left out.
    """
    system = example.messages[:1] if example.messages and example.messages[0]["role"] == "system" else ()
    shown = tuple(turn for shot in shots for turn in (*own_turns(shot), shot.messages[len(shot.prompt)]))
    return replace(example, messages=(*system, *shown, *example.messages[len(system) :]))


def own_turns(example: Example) -> tuple[Message, ...]:
    """The turns before the answer, without system turns, which all rows of a task usually share."""
    return tuple(message for message in example.prompt if message["role"] != "system")


def choose_shots(
    train: Sequence[Example], test: Sequence[Example], *, num: int, selection: Selection, seed: int
) -> tuple[Shots, ...]:
    """Choose solved examples for each test row.

    A training row that asks what any test row asks, or almost that, is never chosen; of training rows with the same
    input only the first can be. `random` and `per_class` choose by content and seed,
    not by place in the file, and the same examples for every row, so that all prompts share them. `nearest` orders the
    examples of a row by likeness, the most alike last, next to the question.

    Args:
        train: Rows to choose from. Rows without a question or an answer are passed over.
        test: The rows that are asked.
        num: Examples in a prompt; 0 chooses none.
        selection: How, see `BaselineConfig.selection`.
        seed: Of `random` and `per_class`.

    Returns:
        For each test row its examples.

    Raises:
        DataError: The training part has too few rows that can be chosen.
        RecipeError: `per_class` was asked for, and the answers are no closed set of labels.
    """
    if num == 0:
        return ((),) * len(test)
    pool = _pool(train, test)
    if len(pool) < num:
        raise DataError(
            f"baseline.shots: {num} examples are asked for, and the training part has {len(pool)} rows that can be "
            f"shown, of {len(train):,} (each input once, and none that a test row asks, or almost).",
            f"Ask for at most {len(pool)}, or give more training rows.",
        )
    if selection == "nearest":
        found = nearest([_question(row) for row in pool], [_question(row) for row in test], num)
        return tuple(tuple(pool[place] for place in reversed(places)) for places in found)
    order = seeded_order([asked_in(own_turns(row)).draw for row in pool], seed=seed, purpose="shots")
    shuffled = [pool[place] for place in order]
    chosen = tuple(_in_turn(shuffled, num) if selection == "per_class" else shuffled[:num])
    return (chosen,) * len(test)


def _pool(train: Sequence[Example], test: Sequence[Example]) -> list[Example]:
    first: dict[bytes, tuple[Asked, Example]] = {}
    for row in train:
        if is_gradable(row):
            asked = asked_by(row)
            first.setdefault(asked.keys[0], (asked, row))
    found = list(first.values())
    twins = set(twins_of([asked for asked, _ in found], [asked_by(row) for row in test]))
    return [row for place, (_, row) in enumerate(found) if place not in twins]


def _in_turn(rows: Sequence[Example], num: int) -> list[Example]:
    """One row of each label, then a second of each, and so on."""
    if not is_closed_label_set([row.answer.strip() for row in rows]):
        raise RecipeError(
            f"baseline.selection: per_class takes examples of each label, and the {len(rows):,} training answers are "
            "no closed set of labels (short answers that repeat).",
            "Set baseline.selection to random or nearest.",
        )
    by_label: dict[str, list[Example]] = {}
    for row in rows:
        by_label.setdefault(row.answer.strip(), []).append(row)
    rounds = chain.from_iterable(zip_longest(*by_label.values()))
    return list(islice((row for row in rounds if row is not None), num))


def _question(row: Example) -> str:
    return "\n".join(str(message["content"] or "") for message in own_turns(row) if message["role"] == "user")
