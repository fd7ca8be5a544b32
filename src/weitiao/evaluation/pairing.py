"""Answers of two models to the same test rows, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from weitiao.data.example import Message
from weitiao.errors import DataError
from weitiao.evaluation.answers import Prediction

_REMEDY = "Compare answers to the same test rows: name the rows with --data FILE or --recipe RECIPE."
_LONGEST_SHOWN = 60


def pair_predictions(
    before: Sequence[Prediction], after: Sequence[Prediction], *, names: tuple[str, str] = ("A", "B")
) -> list[tuple[Prediction, Prediction]]:
    """Pair the answers of two models by row id.

    The rows and the expected answers have to be the same, and so do the questions; one side may have solved examples
    before the question, or another system turn.

    Args:
        before: Answers of A, at least one.
        after: Answers of B, at least one.
        names: What A and B are called in errors.

    Returns:
        One pair per row, in the order of A.

    Raises:
        DataError: They differ; the first difference is named.
    """
    for name, predictions in zip(names, (before, after), strict=True):
        for row_id, count in Counter(one.row_id for one in predictions).most_common(1):
            if count > 1:
                raise DataError(f"{name} answers the row {row_id} more than once.", "Keep one of the answers.")
    by_row = {one.row_id: one for one in after}
    pairs = []
    for one in before:
        other = by_row.pop(one.row_id, None)
        if other is None:
            raise DataError(f"The test rows differ: {names[1]} has no answer to {one.row_id}.", _REMEDY)
        _require_same(one, other, names)
        pairs.append((one, other))
    if by_row:
        raise DataError(f"The test rows differ: {names[0]} has no answer to {next(iter(by_row))}.", _REMEDY)
    return pairs


def _require_same(one: Prediction, other: Prediction, names: tuple[str, str]) -> None:
    if one.expected != other.expected:
        what, values = "the expected answer", (one.expected, other.expected)
    elif not _is_same_question(one.messages, other.messages):
        what, values = "the prompt", (_shown(one.messages), _shown(other.messages))
    else:
        return
    first, second = _where_they_differ(*values)
    raise DataError(
        f"The test rows differ: at {one.row_id} {what} of {names[0]} has {first!r} where that of {names[1]} has "
        f"{second!r}.",
        _REMEDY,
    )


def _is_same_question(one: Sequence[Message], other: Sequence[Message]) -> bool:
    """Whether the turns of the shorter prompt are the last ones of the longer, system turns left out."""
    shorter, longer = sorted((_spoken(one), _spoken(other)), key=len)
    return bool(shorter) and longer[-len(shorter) :] == shorter


def _spoken(messages: Sequence[Message]) -> list[tuple[Any, Any, Any]]:
    turns = [turn for turn in messages if turn["role"] != "system"]
    return [(turn["role"], turn["content"], turn.get("tool_calls")) for turn in turns]


def _shown(messages: Sequence[Message]) -> str:
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)


def _where_they_differ(one: str, other: str) -> tuple[str, str]:
    """Some characters of both from a little before their first difference."""
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, place - _LONGEST_SHOWN // 3)
    return one[start : start + _LONGEST_SHOWN], other[start : start + _LONGEST_SHOWN]
