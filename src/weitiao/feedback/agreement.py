"""How far two judges agree on the same items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from weitiao.evaluation.statistics import Estimate, Floats, proportion, statistic_of_sums
from weitiao.feedback.store import Choice

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
