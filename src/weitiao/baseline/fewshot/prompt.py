"""Solved examples as earlier turns of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from weitiao.data.example import Example, Message


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
