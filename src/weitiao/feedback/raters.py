"""How far several judges agree on the pairs that they judged."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from weitiao.errors import MissingExtraError
from weitiao.evaluation.judges.pairwise import Spent
from weitiao.feedback.contests import Contest
from weitiao.feedback.items import Choice, PreferenceItem
from weitiao.feedback.preference import CHOICES, Preferences, agreement, summarise, winners_by_item
from weitiao.feedback.store import FeedbackStore, by_judge


@dataclass(frozen=True, slots=True)
class Raters:
    """The agreement of all judges together; 1 is full, 0 what chance gives.

    Attributes:
        num_judges: How many there are.
        num_pairs: Pairs that two of them at least judged.
        alpha: Krippendorff's alpha for nominal data; judges may have judged different pairs. None where all chose one
            and the same thing, so that there was nothing to disagree about.
        fleiss: Fleiss' kappa over the pairs that every judge judged; None where there are none, or nothing to disagree
            about.
        disputed: Pairs on which they do not agree, by what each chose.
    """

    num_judges: int
    num_pairs: int
    alpha: float | None
    fleiss: float | None
    disputed: Mapping[str, Mapping[str, Choice]]


@dataclass(frozen=True, slots=True)
class Status:
    """What a store holds.

    Attributes:
        num_pairs: Pairs of answers.
        num_judged: Pairs that somebody judged.
        preferences: Of every judge, and how far every two agree.
        raters: How far all agree; None where no pair was judged twice.
        contests: Of every two models, as each judge sees it.
        spent: What judges behind servers took.
    """

    num_pairs: int
    num_judged: int
    preferences: Preferences
    raters: Raters | None
    contests: tuple[Contest, ...]
    spent: Mapping[str, Spent] = field(default_factory=dict)


def sum_up(items: Sequence[PreferenceItem], store: FeedbackStore, num_unparsable: Mapping[str, int]) -> Preferences:
    """The preferences of everyone in the store who judged some of these items, and the agreement of every two."""
    known = {item.item_id for item in items}
    judged = by_judge(one for one in store.judgements() if one.item_id in known)
    for judge in num_unparsable:
        judged.setdefault(judge, [])
    preferences = tuple(
        summarise(judge, items, found, num_unparsable=num_unparsable.get(judge, 0)) for judge, found in judged.items()
    )
    winners = {judge: winners_by_item(found) for judge, found in judged.items()}
    agreements = (agreement(pair, winners[pair[0]], winners[pair[1]]) for pair in combinations(judged, 2))
    return Preferences(preferences, tuple(one for one in agreements if one is not None))


def agreement_of_all(winners: Mapping[str, Mapping[str, Choice]]) -> Raters | None:
    """Krippendorff's alpha and Fleiss' kappa (packages `krippendorff` and `statsmodels`).

    Args:
        winners: What each judge chose, by pair.

    Returns:
        None where fewer than two judges have a pair in common.

    Raises:
        MissingExtraError: The packages are not installed.
    """
    numbers = Counter(pair for chosen in winners.values() for pair in chosen)
    common = [pair for pair, number in numbers.items() if number > 1]
    if not common:
        return None
    if any(importlib.util.find_spec(name) is None for name in ("krippendorff", "statsmodels")):
        raise MissingExtraError("The agreement of several judges", "feedback")
    import krippendorff
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    table_JP = np.array([[_number(chosen.get(pair)) for pair in common] for chosen in winners.values()])
    whole_PJ = table_JP[:, ~np.isnan(table_JP).any(axis=0)].T
    alpha, fleiss = None, None
    if len(np.unique(table_JP[~np.isnan(table_JP)])) > 1:
        alpha = float(krippendorff.alpha(reliability_data=table_JP, level_of_measurement="nominal"))
    if len(np.unique(whole_PJ)) > 1:
        fleiss = float(fleiss_kappa(aggregate_raters(whole_PJ.astype(int))[0]))
    chosen_by = {pair: {judge: found[pair] for judge, found in winners.items() if pair in found} for pair in common}
    disputed = {pair: chosen for pair, chosen in chosen_by.items() if len(set(chosen.values())) > 1}
    return Raters(len(winners), len(common), alpha, fleiss, disputed)


def _number(choice: Choice | None) -> float:
    return float("nan") if choice is None else float(CHOICES.index(choice))
