"""Losses of pairs against the formulas of their papers, written with probabilities in plain float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from weitiao.errors import RecipeError
from weitiao.objectives.preference_losses import KINDS, Strength
from weitiao.recipe import recipe_from_dict

BETTER, WORSE = [-3.1, -0.7, -12.5, -0.002], [-2.9, -1.6, -4.0, -7.5]
"""Mean log-probabilities; a paper that has ratios to a reference gets them as such."""


def s(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def odds(log_probability: float) -> float:
    return math.exp(log_probability) / (1 - math.exp(log_probability))


def pair_is_right(w: float, v: float, b: float, margin: float) -> float:
    return s(b * math.log(math.exp(w) / math.exp(v)) - margin)


PAPERS: dict[str, Callable[[float, float, float, float, float], float]] = {
    "sigmoid": lambda w, v, b, e, m: (
        -(1 - e) * math.log(pair_is_right(w, v, b, m)) - e * math.log(1 - pair_is_right(w, v, b, m))
    ),
    "robust": lambda w, v, b, e, m: (
        (-(1 - e) * math.log(pair_is_right(w, v, b, 0)) + e * math.log(pair_is_right(v, w, b, 0))) / (1 - 2 * e)
    ),
    "hinge": lambda w, v, b, e, m: max(0.0, 1 - (b * (w - v) - m)),
    "ipo": lambda w, v, b, e, m: (math.log(math.exp(w) / math.exp(v)) - 1 / (2 * b)) ** 2,
    "sppo": lambda w, v, b, e, m: (w - 1 / b * (1 - 1 / 2)) ** 2 + (v - 1 / b * (0 - 1 / 2)) ** 2,
    "apo_zero": lambda w, v, b, e, m: -s(b * w) + s(b * v) + 1,
    "apo_down": lambda w, v, b, e, m: s(b * w) - s(b * w - b * v) + 1,
    "orpo": lambda w, v, b, e, m: -b * math.log(s(math.log(odds(w) / odds(v)))),
}
PAPERS |= {"simpo": PAPERS["sigmoid"], "cpo": PAPERS["sigmoid"]}


@pytest.mark.parametrize("name", KINDS)
def test_values_and_gradients_are_those_of_the_paper(name: str) -> None:
    kind = KINDS[name]
    by = Strength(0.7, 0.15 if kind.smoothing else 0.0, 0.4 if kind.margin else 0.0)
    better, worse = (torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in (BETTER, WORSE))
    losses = kind.loss(better, worse, by)
    losses.sum().backward()
    assert better.grad is not None
    assert worse.grad is not None
    step = 1e-6
    for index, (w, v) in enumerate(zip(BETTER, WORSE, strict=True)):

        def paper(w: float, v: float) -> float:
            return PAPERS[name](w, v, *by)

        assert losses[index].item() == pytest.approx(paper(w, v), rel=1e-9, abs=1e-12)
        of_better, of_worse = paper(w + step, v) - paper(w - step, v), paper(w, v + step) - paper(w, v - step)
        assert float(better.grad[index]) == pytest.approx(of_better / (2 * step), rel=1e-4, abs=1e-7)
        assert float(worse.grad[index]) == pytest.approx(of_worse / (2 * step), rel=1e-4, abs=1e-7)


def test_far_apart_answers_have_finite_losses_and_gradients() -> None:
    for name, kind in KINDS.items():
        for w, v in ((-1e-9, -4000.0), (-4000.0, -1e-9), (-1e-9, -1e-9)):
            given = torch.tensor([w, v], dtype=torch.float64, requires_grad=True)
            loss = kind.loss(given[:1], given[1:], Strength(0.1)).sum()
            loss.backward()
            assert given.grad is not None
            assert torch.isfinite(loss), name
            assert torch.isfinite(given.grad).all(), name


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"loss": "ipo", "margin": 0.5}, "`margin` goes with sigmoid, hinge, simpo, cpo, and `loss` is ipo"),
        ({"loss": "orpo", "label_smoothing": 0.1}, "`label_smoothing` goes with"),
    ],
)
def test_settings_that_a_loss_does_not_have_are_refused(settings: dict[str, object], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        recipe_from_dict({"model": "a", "data": {"train": "b"}, "objective": {"type": "dpo", **settings}})
