"""Reinforcement learning from samples: the clipped policy loss of tokens that the model wrote itself."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weitiao.forest.layout import Forest
from weitiao.models.head import entropies
from weitiao.models.losses import logits_of, losses_at, target_states
from weitiao.objectives.objective import Losses, Objective, sum_per_item
from weitiao.rendering.lengths import TextLength

Estimator = Literal["k1", "k2", "k3"]


class PolicySettings(Protocol):
    """What the loss depends on; the settings of `PolicyConfig`."""

    clip: tuple[float, float]
    ratio: Literal["token", "sequence"]
    normalize: Literal["token", "sequence", "constant"]
    kl: float
    kl_estimator: Estimator
    kl_in: Literal["loss", "reward"]
    entropy: float


def clipped_loss(log_ratio_N: Tensor, advantages_N: Tensor, *, low: float, high: float) -> Tensor:
    """The clipped surrogate of PPO (https://arxiv.org/abs/1707.06347, equation 7), negative: a loss.

    Args:
        log_ratio_N: Log-probability now less that of the policy that wrote the tokens.
        advantages_N: How much better they were than expected.
        low, high: The ratio counts from 1 - low to 1 + high. DAPO (https://arxiv.org/abs/2503.14476, equation 10) has
            a higher one above, so that unlikely tokens may become likely.
    """
    ratio_N = log_ratio_N.exp()
    return -torch.minimum(ratio_N * advantages_N, ratio_N.clamp(1 - low, 1 + high) * advantages_N)


def divergence(logprobs_N: Tensor, reference_N: Tensor, estimator: Estimator) -> Tensor:
    """Estimates of KL(policy || reference) from tokens of the policy (http://joschu.net/blog/kl-approx.html).

    Their means over its tokens: k1 is right in the mean and may be negative, k2 is not quite right and varies less, k3
    is right, never negative, and the one of GRPO (https://arxiv.org/abs/2402.03300, equation 4).
    """
    gap_N = reference_N - logprobs_N
    if estimator == "k1":
        return -gap_N
    return gap_N.square() / 2 if estimator == "k2" else torch.expm1(gap_N) - gap_N


class Policy(Objective):
    """The objectives `grpo`, `rloo` and `reinforce`: they differ in their advantages alone.

    What was computed when the tokens were written comes in columns: `advantage`; `sampled_logprob`, of the generation
    itself; `old_logprob`, the same by the training's own forward pass, left out where the step is the first after the
    rollout (it is then the log-probability itself, and the ratio 1); `reference_logprob` where KL has a coefficient.
    """

    temperature: float = 1.0
    """At which the tokens were drawn; logits are divided by it. A training sets it."""

    def __init__(self, model: nn.Module, settings: PolicySettings) -> None:
        super().__init__(model)
        self.settings = settings

    def forward(self, forest: Forest) -> Losses:
        hidden_ND = target_states(self.model, forest, self.kept)
        losses_N, numbers = self.losses(forest, hidden_ND, self.measured(forest, hidden_ND)["logprob"])
        return self.summed(losses_N, forest, numbers)

    def measured(self, forest: Forest, hidden_ND: Tensor) -> dict[str, Tensor]:
        """What a rollout notes of every token before anything is learned from it [N], by name, given its states."""
        return {"logprob": -losses_at(self.model, hidden_ND, forest, temperature=self.temperature)}

    def columns(self, forest: Forest) -> dict[str, Tensor]:
        """The columns of the targets [N] on the device of the objective, by name."""
        device = next(self.parameters()).device
        return {name: torch.from_numpy(one).to(device) for name, one in forest.targets.columns.items()}

    def losses(self, forest: Forest, hidden_ND: Tensor, logprobs_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses [N], given the states that predict and the log-probabilities; and numbers [N] to be logged."""
        columns = self.columns(forest)
        now_N = logprobs_N.detach()
        old_N = columns.get("old_logprob", now_N)
        low, high = self.settings.clip
        log_ratio_N = logprobs_N - old_N
        if self.settings.ratio == "sequence":  # GSPO, https://arxiv.org/abs/2507.18071, equation 7
            log_ratio_N = _means(log_ratio_N, forest.targets.sequences, len(forest.sequence_items))
        losses_N = clipped_loss(log_ratio_N, columns["advantage"], low=low, high=high)
        ratio_N = log_ratio_N.detach().exp()
        clipped_N = torch.where(columns["advantage"] > 0, ratio_N > 1 + high, ratio_N < 1 - low)
        numbers = {
            "entropy": -now_N,
            "clip_share": clipped_N,
            "old_kl": divergence(old_N, now_N, "k3"),
            "mismatch": (old_N - columns["sampled_logprob"]).abs(),
        }
        if "reference_logprob" in columns and self.settings.kl_in == "loss":
            kl_N = divergence(logprobs_N, columns["reference_logprob"], self.settings.kl_estimator)
            losses_N = losses_N + self.settings.kl * kl_N
        if self.settings.entropy > 0:
            numbers["entropy"] = entropies(hidden_ND, logits_of(self.model, hidden_ND, temperature=self.temperature))
            losses_N = losses_N - self.settings.entropy * numbers["entropy"]
        return losses_N, numbers

    def summed(self, losses_N: Tensor, forest: Forest, numbers: dict[str, Tensor]) -> Losses:
        """The losses of the targets as sums, and the mean over the tokens of each answer of further numbers."""
        weights_N = torch.from_numpy(forest.targets.weights).to(losses_N.device)
        counts_I = np.bincount(forest.target_items, minlength=len(forest.items))
        shares_N = torch.from_numpy((self.weights(forest) / counts_I)[forest.target_items]).to(losses_N.device)
        metrics = {name: (one.detach().double() * shares_N).sum() for name, one in numbers.items()}
        per_item = sum_per_item(losses_N.double() * weights_N.double(), forest)
        return Losses((losses_N * weights_N).sum(), per_item, metrics)

    def weights(self, forest: Forest) -> NDArray[np.float64]:
        """Its answers by `normalize: sequence` and `constant`, and else its tokens."""
        if self.settings.normalize == "token":
            return super().weights(forest)
        weights_S = np.array([item.weight for item in forest.items])[forest.sequence_items]
        return np.bincount(forest.sequence_items, weights_S, minlength=len(forest.items)).astype(np.float64, copy=False)

    def readings(self, loss: float, text: TextLength) -> dict[str, float]:
        """A validation's loss is the negative mean reward of greedy answers."""
        return {"reward": 0.0 - loss}  # not minus zero


def _means(values_N: Tensor, sequences_N: NDArray[np.int64], num_sequences: int) -> Tensor:
    """For every target the mean over its sequence, with gradient."""
    index_N = torch.from_numpy(sequences_N).to(values_N.device)
    counts_S = torch.bincount(index_N, minlength=num_sequences).to(values_N.dtype)
    sums_S = values_N.new_zeros(num_sequences).index_add(0, index_N, values_N)
    return (sums_S / counts_S)[index_N]
