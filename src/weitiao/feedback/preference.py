"""What judgements add up to: who wins and how surely, how much an answer's place mattered, how far judges agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from weitiao.evaluation.statistics import (
    Estimate,
    Floats,
    SignTest,
    judgements_needed,
    mean,
    proportion,
    sign_test,
    statistic_of_sums,
)
from weitiao.feedback.items import Choice, PreferenceItem
from weitiao.feedback.store import Judgement

CHOICES: tuple[Choice, ...] = get_args(Choice)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two judges on the items that both judged.

    Attributes:
        judges: Their names.
        share: Share of items on which they chose alike.
        kappa: Cohen's kappa: 1 is full agreement, 0 what two judges who throw dice with their own habits would have.
            None when both said one and the same thing on every item, so that there was nothing to disagree about.
        n: Items that both judged.
    """

    judges: tuple[str, str]
    share: Estimate
    kappa: Estimate | None
    n: int


def agreement(
    judges: tuple[str, str], first: Mapping[str, Choice], second: Mapping[str, Choice], *, seed: int = 0
) -> Agreement | None:
    """Cohen's kappa with its 95 % bootstrap interval over items.

    Source: J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20
    (1960): `kappa = (p_o - p_e) / (1 - p_e)`, with the observed agreement and that of two independent judges.

    Args:
        judges: Names of the two.
        first, second: What each chose, by item.
        seed: Of the resamples.

    Returns:
        The agreement; None when they have no item in common.
    """
    common = [item for item in first if item in second]
    if not common:
        return None
    pairs = [(CHOICES.index(first[item]), CHOICES.index(second[item])) for item in common]
    alike = proportion(sum(one == other for one, other in pairs), len(pairs))
    if len({choice for pair in pairs for choice in pair}) == 1:
        return Agreement(judges, alike, None, len(pairs))
    cells_NK = np.zeros((len(pairs), len(CHOICES) ** 2))
    cells_NK[np.arange(len(pairs)), [len(CHOICES) * one + other for one, other in pairs]] = 1
    return Agreement(judges, alike, statistic_of_sums(cells_NK, _kappa, seed=seed), len(pairs))


def _kappa(sums_BK: Floats) -> Floats:
    tables = sums_BK.reshape(-1, len(CHOICES), len(CHOICES))
    tables = tables / tables.sum(axis=(1, 2), keepdims=True)
    observed = np.trace(tables, axis1=1, axis2=2)
    expected = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    # A resample in which both say one thing only: they agree on all of it.
    alike = np.isclose(expected, 1.0)
    return np.where(alike, 1.0, (observed - expected) / np.where(alike, 1.0, 1 - expected))


SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Preference:
    """The preferences of one judge between A and B.

    Attributes:
        judge: Who judged.
        test: Wins of B, losses and ties, with win rate and p-value; None when every judgement was a tie, or none was
            made.
        num_items: Items whose answers differ.
        num_same: Items whose answers are the same; nobody is asked about them.
        num_judged: Items that were judged.
        num_ties: Of these, how many have no winner: neither is better, or neither is good.
        num_disagreements: Items on which a judge of both orders contradicted itself; they are among the ties.
        num_unparsable: Replies of a judge model that named neither answer; their items are not judged.
        first_share: How often the answer that was shown first won, over the items with a winner in some order. One
            half is fair. None when there is no such item.
        more_needed: About how many more judgements, ties included, would show the preference that there seems to be;
            0 when it is shown already, None when there seems to be none.
    """

    judge: str
    test: SignTest | None
    num_items: int
    num_same: int
    num_judged: int
    num_ties: int
    num_disagreements: int
    num_unparsable: int
    first_share: Estimate | None
    more_needed: int | None

    @property
    def is_decided(self) -> bool:
        """Whether the sign test finds a winner at 5 %."""
        return self.test is not None and self.test.p_value <= SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences of every judge, and how far the judges agree.

    Attributes:
        judges: One entry per judge.
        agreements: One entry per pair of judges that have items in common.
    """

    judges: tuple[Preference, ...]
    agreements: tuple[Agreement, ...] = ()


def summarise(
    judge: str, items: Sequence[PreferenceItem], judgements: Sequence[Judgement], *, num_unparsable: int = 0
) -> Preference:
    """Count the judgements of one judge.

    An item that was judged in both orders has a winner when both agree; otherwise it is a tie.

    Args:
        judge: Its name.
        items: All pairs of answers.
        judgements: Those of this judge, about these items or others, which are passed over.
        num_unparsable: Replies that were no judgement.
    """
    different = {item.item_id for item in items if not item.is_same}
    by_item = _by_item(one for one in judgements if one.item_id in different)
    choices = [winner(found) for found in by_item.values()]
    wins, losses = choices.count("b"), choices.count("a")
    ties = len(choices) - wins - losses
    test = sign_test(wins, losses, ties) if wins + losses else None
    shares = [share for found in by_item.values() if (share := _first_share(found)) is not None]
    return Preference(
        judge=judge,
        test=test,
        num_items=len(different),
        num_same=len(items) - len(different),
        num_judged=len(choices),
        num_ties=ties,
        num_disagreements=sum(len({one.choice for one in found}) > 1 for found in by_item.values()),
        num_unparsable=num_unparsable,
        first_share=mean(shares) if shares else None,
        more_needed=None if test is None else more_needed(test),
    )


def winner(judgements: Sequence[Judgement]) -> Choice:
    """What the judgements of one item by one judge say together: the choice of all, or a tie when they differ."""
    choices = {one.choice for one in judgements}
    return choices.pop() if len(choices) == 1 else "tie"


def winners_by_item(judgements: Sequence[Judgement]) -> Mapping[str, Choice]:
    """The choice of one judge for every item it judged."""
    return {item: winner(found) for item, found in _by_item(judgements).items()}


def _by_item(judgements: Iterable[Judgement]) -> dict[str, list[Judgement]]:
    by_item: dict[str, list[Judgement]] = {}
    for one in judgements:
        by_item.setdefault(one.item_id, []).append(one)
    return by_item


def _first_share(judgements: Sequence[Judgement]) -> float | None:
    """Of one item: how often the answer shown first won. The two orders of an item belong together, so they are one
    observation, which is one half for a judge that only looks at the answers."""
    won = [one.choice == one.order[0] for one in judgements if one.choice in ("a", "b")]
    return sum(won) / len(won) if won else None


def more_needed(test: SignTest) -> int | None:
    """About how many more judgements, ties included, would decide if the win rate stays as it is.

    Returns:
        0 where it is decided; None where there seems to be no preference.
    """
    if test.p_value <= SIGNIFICANT:
        return 0
    needed = judgements_needed(test.win_rate.value)
    if needed is None:
        return None
    decided = test.wins + test.losses
    return max(1, math.ceil((needed - decided) * (decided + test.ties) / decided))
