"""What answers are worth. A sample that cannot be scored is dropped and counted, and never has the reward 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from weitiao.data.example import Example, asked
from weitiao.errors import WeitiaoError
from weitiao.evaluation.metrics.base import Item, Metric
from weitiao.generation.chat_server import NoReplyError
from weitiao.rollouts.config import RewardConfig, RewardModel


class Rewards:
    """The parts of a reward, ready to score.

    Args:
        configs: At least one.

    Raises:
        WeitiaoError: A file or a package that a part needs is not there.
    """

    def __init__(self, configs: Sequence[RewardConfig]) -> None:
        self._parts: list[tuple[str, float, Metric]] = [(one.title, one.weight, one.by.build()) for one in configs]

    def open_models(self, open_one: Callable[[str], Callable[[Sequence[Item]], list[float]]]) -> None:
        """Have reward models opened: from the name of one to what scores answers by it."""
        self._parts = [
            (title, weight, part.by(open_one(part.model)) if isinstance(part, RewardModel) else part)
            for title, weight, part in self._parts
        ]

    def check(self, rows: Sequence[Example]) -> None:
        """Refuse rows whose expected answer a part cannot use, before time is spent on answers.

        Raises:
            WeitiaoError: The message names the row.
        """
        for row in rows:
            turns, expected = asked(row)
            for _, _, part in self._parts:
                part.check(Item("", expected, turns, row.columns, row.row_id))

    def score(self, items: Sequence[Item]) -> list[tuple[dict[str, float], str]]:
        """The score of each part for each answer, by its name, and what went wrong, if something did."""
        scores: list[dict[str, float]] = [{} for _ in items]
        faults = ["" for _ in items]
        for title, _, part in self._parts:
            for place, found in enumerate(_grades(part, items)):
                if isinstance(found, str):
                    faults[place] = faults[place] or found
                elif not math.isfinite(found):
                    faults[place] = faults[place] or f"{title} gave {found}, which is not finite."
                else:
                    scores[place][title] = found
        return list(zip(scores, faults, strict=True))

    def total(self, scores: dict[str, float]) -> float:
        """The weighted sum of the scores of all parts."""
        return math.fsum(weight * scores[title] for title, weight, _ in self._parts)


def _grades(part: Metric, items: Sequence[Item]) -> Sequence[float | str]:
    """The grade of each answer, or why it has none: all at once, and one by one where one of them fails."""
    if part.remote and len(items) > (size := part.model_dump()["batch_size"]):
        return [one for start in range(0, len(items), size) for one in _grades(part, items[start : start + size])]
    try:
        return part.grade_all(items)
    except WeitiaoError as error:
        if part.remote or len(items) == 1 or isinstance(error, NoReplyError):
            return [error.what] * len(items)
    return [_grades(part, [item])[0] for item in items]
