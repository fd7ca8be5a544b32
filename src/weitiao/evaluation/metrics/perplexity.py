"""Perplexity: the exponential of the mean loss per token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from weitiao.evaluation.likelihood import Likelihood
from weitiao.evaluation.metrics.base import BaseScore
from weitiao.evaluation.statistics import Estimate, statistic_of_sums


def perplexity(sequences: Sequence[Likelihood]) -> Estimate:
    """The exponential of the mean loss of all tokens, with an interval over sequences; `n` counts those.

    Args:
        sequences: At least one.
    """
    items_NK = np.array([[-one.log_likelihood, one.num_tokens] for one in sequences], dtype=np.float64)
    return statistic_of_sums(items_NK, lambda sums_BK: np.exp(sums_BK[:, 0] / sums_BK[:, 1]), bounds=None)


class Perplexity(BaseScore):
    """Perplexity of the test rows: of their answers, or of raw text. It grades no answer and is no first metric."""

    type: Literal["perplexity"] = "perplexity"
    """The score."""
