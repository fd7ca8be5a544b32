"""Advantages, divergences and policy losses against loops written from the papers, in double precision."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from weitiao.forest.layout import Forest, build_forest
from weitiao.models.attention import FOREST
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model
from weitiao.models.losses import final_states, target_states
from weitiao.objectives.advantages import Scored, generalized, leave_one_out, of_groups, to_go, whitened
from weitiao.objectives.policy import Policy, clipped_loss, divergence
from weitiao.objectives.policy_config import GrpoConfig, PpoConfig
from weitiao.objectives.ppo import Ppo
from weitiao.rendering.items import Item, TokenSequence

LENGTHS = (3, 1, 5, 2, 4, 4)
GROUPS = (0, 0, 0, 1, 1, 1)


def answers(seed: int = 0, *, penalties: bool = True) -> list[Scored]:
    draw = np.random.default_rng(seed)
    return [
        Scored(group, float(draw.normal()), draw.normal(size=length) * penalties, draw.normal(size=length))
        for group, length in zip(GROUPS, LENGTHS, strict=True)
    ]


@pytest.mark.parametrize("divide", [True, False])
def test_group_advantages(divide: bool) -> None:
    given = answers(penalties=False)
    for one, found in zip(given, of_groups(given, divide_by_std=divide), strict=True):
        rewards = [other.reward for other in given if other.group == one.group]
        expected = one.reward - sum(rewards) / 3
        expected /= statistics.stdev(rewards) + 1e-4 if divide else 1
        assert found == pytest.approx([expected] * len(one.penalties), rel=1e-12)


def test_a_group_whose_answers_are_all_worth_the_same_teaches_nothing() -> None:
    given = [Scored(0, 0.7, np.zeros(2), np.zeros(0)) for _ in range(3)]
    assert all(abs(found).max() < 1e-9 for found in of_groups(given, divide_by_std=True))


def test_leave_one_out_with_divergence_in_the_reward() -> None:
    given = answers()
    total = [one.reward - float(one.penalties.sum()) for one in given]
    for place, found in enumerate(leave_one_out(given)):
        others = [total[k] for k in range(6) if k != place and GROUPS[k] == GROUPS[place]]
        assert found == pytest.approx([total[place] - sum(others) / 2] * LENGTHS[place], rel=1e-12)


def test_what_is_to_come_is_whitened_over_all_tokens() -> None:
    given = answers()
    plain = []
    for one in given:
        for t in range(len(one.penalties)):
            plain.append(one.reward - sum(float(one.penalties[k]) for k in range(t, len(one.penalties))))
    mean, std = statistics.fmean(plain), statistics.pstdev(plain)
    assert np.concatenate(to_go(given)) == pytest.approx([(x - mean) / std for x in plain], rel=1e-6)


@pytest.mark.parametrize(("discount", "trace"), [(1.0, 0.95), (0.9, 0.5), (0.99, 0.0), (1.0, 1.0)])
def test_generalised_advantages_are_the_weighted_mean_of_all_lookaheads(discount: float, trace: float) -> None:
    """Schulman et al., equation 16: the sum of discounted surprises, each written out."""
    draw = np.random.default_rng(1)
    rewards, values = draw.normal(size=6), draw.normal(size=6)
    found, returns = generalized(rewards, values, discount=discount, trace=trace)
    for t in range(6):
        surprises = [rewards[k] + discount * (values[k + 1] if k < 5 else 0.0) - values[k] for k in range(6)]
        expected = sum((discount * trace) ** (k - t) * surprises[k] for k in range(t, 6))
        assert found[t] == pytest.approx(expected, rel=1e-12)
        assert returns[t] == pytest.approx(expected + values[t], rel=1e-12)
    if trace == 1:  # then the return is what really came
        assert returns[0] == pytest.approx(sum(discount**k * rewards[k] for k in range(6)), rel=1e-12)


def test_whitening_may_leave_the_mean() -> None:
    values = [np.array([1.0, 2.0]), np.array([6.0])]
    every = np.concatenate(whitened(values, centre=False))
    assert (every.mean(), every.std()) == (pytest.approx(3), pytest.approx(1))


def test_estimators_of_divergence_against_the_divergence_itself() -> None:
    """Over all tokens of a small vocabulary, k1 and k3 have the exact mean, and k3 is never negative."""
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(2, 9, generator=generator, dtype=torch.float64).log_softmax(1)
    exact = float((policy.exp() * (policy - reference)).sum())
    for name in ("k1", "k3"):
        assert float((policy.exp() * divergence(policy, reference, name)).sum()) == pytest.approx(exact, rel=1e-12)
    assert divergence(policy, reference, "k3").min() >= 0
    near = (policy + 1e-3 * reference).log_softmax(0)
    exact = float((policy.exp() * (policy - near)).sum())
    assert float((policy.exp() * divergence(policy, near, "k2")).sum()) == pytest.approx(exact, rel=0.01)


def laid_out(share: bool = True) -> tuple[Forest, list[list[int]]]:
    """Six answers of two groups, in a forest; and of each, the places of its targets."""
    draw = np.random.default_rng(2)
    items = []
    for place, (group, length) in enumerate(zip(GROUPS, LENGTHS, strict=True)):
        prompt = [1 + group] * (3 + group)
        ids = [*prompt, *draw.integers(5, 20, length).tolist()]
        before = np.zeros(len(prompt))
        names = ("advantage", "sampled_logprob", "old_logprob", "reference_logprob")
        columns = {
            name: np.concatenate([before, draw.normal(size=length) * (1 if name == "advantage" else 0.4) - 1])
            for name in names
        }
        weights = np.concatenate([before, np.ones(length)]).astype(np.float32)
        items.append(
            Item(
                f"row:{place}",
                (
                    TokenSequence(
                        f"row:{place}",
                        np.array(ids, np.int32),
                        weights,
                        columns={name: one.astype(np.float32) for name, one in columns.items()},
                    ),
                ),
            )
        )
    forest = build_forest(items, share_prefixes=share)
    return forest, [np.flatnonzero(forest.target_items == k).tolist() for k in range(6)]


SETTINGS: list[dict[str, Any]] = [
    {"kl": 0.0},
    {"kl": 0.1, "kl_estimator": "k1"},
    {"kl": 0.1, "kl_estimator": "k2", "clip": (0.2, 0.28)},
    {"kl": 0.1, "kl_estimator": "k3", "ratio": "sequence", "clip": (0.05, 0.1)},
    {"kl": 0.1, "kl_in": "reward"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("normalize", ["token", "sequence", "constant"])
def test_loss_and_gradient_against_loops_over_answers_and_tokens(settings: dict[str, Any], normalize: Any) -> None:
    config = GrpoConfig(type="grpo", normalize=normalize, **settings)
    forest, places = laid_out()
    of_token = {"token": lambda length: 1.0, "sequence": lambda length: 1 / length, "constant": lambda length: 1 / 8}
    weights = forest.targets.weights
    for one in places:
        weights[one] = of_token[normalize](len(one))
    columns = {name: values.astype(np.float64) for name, values in forest.targets.columns.items()}
    forest.targets.columns.update(columns)  # type: ignore[attr-defined]
    now = torch.tensor(columns["old_logprob"] + np.random.default_rng(3).normal(size=len(weights)) * 0.3)
    objective = Policy(nn.Linear(1, 1), config)
    logprobs = now.clone().requires_grad_()
    losses, numbers = objective.losses(forest, torch.empty(0), logprobs)
    found = objective.summed(losses, forest, numbers)
    unit = float(objective.weights(forest).sum())
    (found.total / unit).backward()

    again = now.clone().requires_grad_()
    low, high = config.clip
    parts = []
    for one in places:
        gaps = [again[k] - float(columns["old_logprob"][k]) for k in one]
        of_tokens = []
        for gap, k in zip(gaps, one, strict=True):
            ratio = torch.exp(sum(gaps) / len(gaps) if config.ratio == "sequence" else gap)  # type: ignore[arg-type]
            advantage = float(columns["advantage"][k])
            kept = ratio.clamp(1 - low, 1 + high)
            loss = -torch.min(ratio * advantage, kept * advantage)
            if config.kl and config.kl_in == "loss":
                log_r = float(columns["reference_logprob"][k]) - again[k]
                estimate = {"k1": -log_r, "k2": log_r**2 / 2, "k3": torch.exp(log_r) - 1 - log_r}
                loss = loss + config.kl * estimate[config.kl_estimator]
            of_tokens.append(loss)
        parts.append(of_tokens)
    if normalize == "token":
        expected = sum(itertools.chain(*parts)) / sum(LENGTHS)  # type: ignore[arg-type]
    elif normalize == "sequence":
        expected = sum(sum(one) / len(one) for one in parts) / 6  # type: ignore[arg-type, misc]
    else:
        expected = sum(sum(one) for one in parts) / (6 * 8)  # type: ignore[arg-type, misc]
    expected.backward()  # type: ignore[union-attr]
    assert float(found.total.detach()) / unit == pytest.approx(float(expected.detach()), rel=1e-6)
    assert float(found.per_item.sum()) == pytest.approx(float(found.total.detach()), rel=1e-12)
    torch.testing.assert_close(logprobs.grad, again.grad, rtol=1e-6, atol=1e-9)
    log_ratios = now.numpy() - columns["old_logprob"]
    if config.ratio == "token":
        ratio, up = np.exp(log_ratios), columns["advantage"] > 0
        outside = np.where(up, ratio > 1 + high, ratio < 1 - low)
        share = outside.mean() if normalize == "token" else np.mean([outside[one].mean() for one in places])
        assert float(found.metrics["clip_share"]) / unit == pytest.approx(share)
        assert 0 < share < 1


def test_the_first_step_after_a_rollout_has_the_gradient_of_reinforce() -> None:
    """Where nothing has changed since, the ratio is 1, and nothing is clipped."""
    logprobs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantages = torch.tensor([0.5, -1.0, 3.0])
    clipped_loss(logprobs - logprobs.detach(), advantages, low=0.2, high=0.2).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == (-advantages).tolist()
    assert math.isfinite(float(divergence(logprobs.detach(), logprobs.detach() - 40, "k3").max()))


def test_values_and_their_loss_against_a_loop(tiny_llama_dir: Path) -> None:
    """PPO on a model: values are linear in the states that predict, and their clipped error is added to the loss."""
    model = load_model(ModelConfig(name=str(tiny_llama_dir), dtype="float32"), attention=FOREST)
    config = PpoConfig(type="ppo", value_weight=0.3, value_clip=0.1, entropy=0.02, kl=0.0)
    objective, forest = Ppo(model, config), laid_out()[0]
    assert objective.measured(forest, target_states(model, forest))["value"].abs().max() == 0
    torch.nn.init.normal_(objective.value_head.weight, generator=torch.Generator().manual_seed(0))
    draw = np.random.default_rng(4)
    extra = {name: draw.normal(size=len(forest.targets)).astype(np.float32) for name in ("old_value", "return")}
    forest.targets.columns.update(extra)  # type: ignore[attr-defined]
    found = objective(forest)

    total = torch.zeros(())
    for place, item in enumerate(forest.items):
        at = np.flatnonzero(forest.target_items == place)
        alone = build_forest([item])
        states = final_states(model.model, alone.layout)[torch.from_numpy(alone.targets.positions)]
        logits = model.lm_head(states).log_softmax(1)
        for k, state, logprobs in zip(at.tolist(), states, logits, strict=True):
            label = int(forest.targets.labels[k])
            columns = {name: float(values[k]) for name, values in forest.targets.columns.items()}
            ratio = torch.exp(logprobs[label] - columns["old_logprob"])
            policy = -torch.min(ratio * columns["advantage"], ratio.clamp(0.8, 1.2) * columns["advantage"])
            value = (objective.value_head.weight[0] * state).sum() + objective.value_head.bias[0]
            moved = (value - columns["old_value"]).clamp(-0.1, 0.1) + columns["old_value"]
            error = torch.max((value - columns["return"]) ** 2, (moved - columns["return"]) ** 2) / 2
            entropy = -(logprobs.exp() * logprobs).sum()
            total = total + policy + 0.3 * error - 0.02 * entropy
    torch.testing.assert_close(found.total, total, rtol=1e-4, atol=1e-4)
    parameters = [objective.value_head.weight, model.model.layers[0].mlp.up_proj.weight]
    for one, other in zip(
        torch.autograd.grad(found.total, parameters), torch.autograd.grad(total, parameters), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_coefficient_follows_the_divergence() -> None:
    """Ziegler et al., section 2.2: by a fifth at most, for a horizon of as many answers."""
    config = PpoConfig(type="ppo", kl=0.1, kl_target=0.02, kl_horizon=100)
    assert config.next_kl(0.1, 0.2, 50) == pytest.approx(0.1 * (1 + 0.2 * 0.5))
    assert config.next_kl(0.1, 0.019, 50) == pytest.approx(0.1 * (1 - 0.05 * 0.5))
    assert config.next_kl(0.1, 0.0, 100) == pytest.approx(0.1 * 0.8)
    with pytest.raises(ValueError, match="kl_in"):
        PpoConfig(type="ppo", kl_target=0.1, kl_in="loss")


def test_whitened_rewards_and_advantages_of_ppo() -> None:
    given = answers()
    config = PpoConfig(type="ppo", whiten_rewards=True, discount=0.9, trace=0.8)
    tokens = np.concatenate([one.token_rewards() for one in given])
    expected = []
    for one in given:
        rewards = (one.token_rewards() - tokens.mean()) / tokens.std() + tokens.mean()
        expected.append(generalized(rewards, one.values, discount=0.9, trace=0.8))
    raw = np.concatenate([advantages for advantages, _ in expected])
    for found, (advantages, returns) in zip(config.columns(given), expected, strict=True):
        assert found["return"] == pytest.approx(returns, rel=1e-6)
        assert found["advantage"] == pytest.approx((advantages - raw.mean()) / raw.std(), rel=1e-6)
