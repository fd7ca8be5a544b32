"""How much better an answer, or a token of it, was than expected: from rewards to advantages, without a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEAST_STD = 1e-4
"""Added to a standard deviation, as TRL does; the papers have none, and groups without spread divide by zero."""


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer of T tokens that was scored.

    Attributes:
        group: Answers with the same number are of the same prompt.
        reward: Of the whole answer.
        penalties: [T]. What is taken off at every token: the coefficient times the estimate of KL to the reference.
        values: [T]. What a value model expected before every token; empty without one.
    """

    group: int
    reward: float
    penalties: Floats
    values: Floats

    def token_rewards(self) -> Floats:
        """The reward [T] of every token: that of the answer stands at its last."""
        rewards_T = -self.penalties
        rewards_T[-1] += self.reward
        return rewards_T


def of_groups(answers: Sequence[Scored], *, divide_by_std: bool) -> list[Floats]:
    """GRPO (https://arxiv.org/abs/2402.03300, section 4.1.2): the reward less the mean of its group.

    Args:
        answers: At least two of every group.
        divide_by_std: Also divide by the standard deviation of the group (of a sample, as TRL's). Dr. GRPO
            (https://arxiv.org/abs/2503.20783, section 3.1) leaves that out: it makes easy and hard prompts weigh more.
    """

    def relative(rewards_G: Floats) -> Floats:
        spread = float(rewards_G.std(ddof=1)) + _LEAST_STD if divide_by_std else 1.0
        return (rewards_G - float(rewards_G.mean())) / spread

    return _by_group(answers, relative)


def leave_one_out(answers: Sequence[Scored]) -> list[Floats]:
    """RLOO (https://arxiv.org/abs/2402.14740, equation 8): the reward less the mean of the others of its group."""
    return _by_group(answers, lambda rewards_G: (rewards_G - rewards_G.mean()) * len(rewards_G) / (len(rewards_G) - 1))


def to_go(answers: Sequence[Scored]) -> list[Floats]:
    """REINFORCE++ (https://arxiv.org/abs/2501.03262, section 3): what is still to come, whitened over all tokens."""
    return whitened([np.cumsum(one.token_rewards()[::-1])[::-1] for one in answers])


def generalized(rewards_T: Floats, values_T: Floats, *, discount: float, trace: float) -> tuple[Floats, Floats]:
    """Generalised advantage estimation (https://arxiv.org/abs/1506.02438, equation 16).

    Args:
        rewards_T: Of every token; the answer ends with the last.
        values_T: Expected before every token.
        discount: Gamma.
        trace: Lambda.

    Returns:
        Advantages [T], and the returns [T] that values are to learn: advantage plus value.
    """
    advantages_T = np.zeros(len(rewards_T))
    following = next_value = 0.0
    for place in range(len(rewards_T) - 1, -1, -1):
        surprise = rewards_T[place] + discount * next_value - values_T[place]
        following = surprise + discount * trace * following
        advantages_T[place], next_value = following, values_T[place]
    return advantages_T, advantages_T + values_T


def whitened(values: Sequence[Floats], *, centre: bool = True) -> list[Floats]:
    """The same numbers with variance 1 over all of them, and mean 0 unless the mean is to stay."""
    every = np.concatenate(values)
    mean, std = every.mean(), every.std() + 1e-8
    return [(one - mean) / std + (0.0 if centre else mean) for one in values]


def _by_group(answers: Sequence[Scored], relative: Callable[[Floats], Floats]) -> list[Floats]:
    """For every answer what a function makes of the rewards of its group, less penalties, at each of its tokens."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index, one in enumerate(answers):
        groups[one.group].append(index)
    found = [np.zeros(0)] * len(answers)
    for indices in groups.values():
        rewards_G = np.array([answers[index].reward - answers[index].penalties.sum() for index in indices])
        for index, advantage in zip(indices, relative(rewards_G), strict=True):
            found[index] = np.full(len(answers[index].penalties), advantage)
    return found
