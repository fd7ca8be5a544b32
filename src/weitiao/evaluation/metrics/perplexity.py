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


def by_length(sequences: Sequence[Likelihood]) -> tuple[Estimate, Estimate] | None:
    """Nats per character and bits per byte, which do not depend on the vocabulary; `n` counts sequences.

    Args:
        sequences: At least one.

    Returns:
        None where the length of the text is not known, or there is no text.
    """
    texts = [one.text for one in sequences if one.text is not None]
    if len(texts) < len(sequences) or not any(text.bytes for text in texts):
        return None
    nats_N = np.array([-one.log_likelihood for one in sequences])
    lengths_N2 = np.array([[text.characters, text.bytes * np.log(2)] for text in texts])
    per_character, per_byte = (
        statistic_of_sums(np.stack([nats_N, lengths_N], 1), lambda sums_BK: sums_BK[:, 0] / sums_BK[:, 1], bounds=None)
        for lengths_N in lengths_N2.T
    )
    return per_character, per_byte


class Perplexity(BaseScore):
    """Perplexity of the test rows: of their answers, or of raw text. It grades no answer and is no first metric."""

    type: Literal["perplexity"] = "perplexity"
    """The score."""
