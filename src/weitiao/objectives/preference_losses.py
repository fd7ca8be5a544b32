"""Losses of a better answer against a worse one: pure functions of what the model gives the two.

For each of I pairs, `better` and `worse` are the log-probabilities of the answers, minus those of the reference model
where there is one (log-ratios); sums over the answer's tokens, or means where lengths shall not count. None is reduced:
the loss of a pair does not depend on the pairs beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu


class Strength(NamedTuple):
    """What the losses are set by.

    Attributes:
        beta: How strongly the model is held to the reference; the scale of implicit rewards.
        label_smoothing: The share of pairs that are held to be the wrong way round.
        margin: By how much the reward of the better answer shall be higher.
    """

    beta: float
    label_smoothing: float = 0.0
    margin: float = 0.0


def sigmoid(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """DPO (https://arxiv.org/abs/2305.18290, eq. 7).

    With label smoothing the conservative form (https://ericmitchell.ai/cdpo.pdf, eq. 3), with a margin that of ODPO
    (https://arxiv.org/abs/2402.10571, eq. 4, the offset being the same for all pairs). Of log-probabilities without a
    reference it is CPO's first term (https://arxiv.org/abs/2401.08417, eq. 3); of their means, SimPO
    (https://arxiv.org/abs/2405.14734, eq. 6).
    """
    reward = by.beta * (better - worse) - by.margin
    return -logsigmoid(reward) * (1 - by.label_smoothing) - logsigmoid(-reward) * by.label_smoothing


def robust(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """DPO whose expectation does not change when labels are turned round at random (2403.00409, eq. 12)."""
    reward, noise = by.beta * (better - worse), by.label_smoothing
    return (-logsigmoid(reward) * (1 - noise) + logsigmoid(-reward) * noise) / (1 - 2 * noise)


def hinge(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """The hinge loss of SLiC (https://arxiv.org/abs/2305.10425, eq. 1), on implicit rewards as RSO has it
    (https://arxiv.org/abs/2309.06657, eq. 9)."""
    return relu(1 + by.margin - by.beta * (better - worse))


def ipo(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """IPO (https://arxiv.org/abs/2310.12036, eq. 17); its tau is `beta`.

    The paper has sums of log-probabilities. Its authors advise means since, and TRL takes them: `length_normalized`.
    """
    return (better - worse - 1 / (2 * by.beta)).square()


def sppo(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """SPPO where the judgement is certain (https://arxiv.org/abs/2405.00675, eq. 4.7); its eta is 1 / `beta`."""
    half = 1 / (2 * by.beta)
    return (better - half).square() + (worse + half).square()


def apo_zero(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """APO-zero: the better one up, the worse one down (https://arxiv.org/abs/2408.06266, eq. 3)."""
    return torch.sigmoid(-by.beta * better) + torch.sigmoid(by.beta * worse)


def apo_down(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """APO-down: both down, the worse one more (https://arxiv.org/abs/2408.06266, eq. 4)."""
    return torch.sigmoid(by.beta * better) + torch.sigmoid(-by.beta * (better - worse))


def orpo(better: Tensor, worse: Tensor, by: Strength) -> Tensor:
    """The odds ratio of ORPO (https://arxiv.org/abs/2403.07691, eq. 7), times its lambda, which is `beta`.

    Args:
        better, worse: Means of log-probabilities, without a reference.
        by: `beta` alone counts.
    """
    odds = (better - worse) - (_log1mexp(better) - _log1mexp(worse))
    return -by.beta * logsigmoid(odds)


def _log1mexp(values: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, exact at both ends (Maechler, 2012)."""
    values = values.clamp(max=-torch.finfo(values.dtype).eps)
    near = values > -0.6931
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, values, -1.0))),
        torch.log1p(-torch.exp(torch.where(near, -1.0, values))),
    )


class Kind(NamedTuple):
    """What a loss is taken of.

    Attributes:
        loss: The function.
        reference: Whether it is of log-ratios to a reference.
        means: Whether it is of means over tokens in any case.
        margin, smoothing: Whether it has these settings.
        beta: The usual strength.
        sft: The usual weight of the supervised term beside it.
    """

    loss: Callable[[Tensor, Tensor, Strength], Tensor]
    reference: bool = True
    means: bool = False
    margin: bool = False
    smoothing: bool = False
    beta: float = 0.1
    sft: float = 0.0


KINDS = {
    "sigmoid": Kind(sigmoid, margin=True, smoothing=True),
    "ipo": Kind(ipo),
    "hinge": Kind(hinge, margin=True),
    "robust": Kind(robust, smoothing=True),
    "sppo": Kind(sppo),
    "apo_zero": Kind(apo_zero),
    "apo_down": Kind(apo_down),
    "simpo": Kind(sigmoid, reference=False, means=True, margin=True, smoothing=True, beta=2.0),
    "cpo": Kind(sigmoid, reference=False, margin=True, smoothing=True, sft=1.0),
    "orpo": Kind(orpo, reference=False, means=True, sft=1.0),
}
