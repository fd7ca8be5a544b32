"""From scored samples to what is learned from: what a forward pass says of them, their advantages, and items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from weitiao.forest.layout import Forest
from weitiao.forest.plan import Plan
from weitiao.models.losses import target_states
from weitiao.models.parts import evaluating
from weitiao.objectives.advantages import Scored
from weitiao.objectives.columns import computed_columns
from weitiao.objectives.policy import Policy, divergence
from weitiao.objectives.policy_config import PolicyConfig
from weitiao.rendering.items import Item, PerToken, TokenIds, TokenSequence
from weitiao.rollouts.config import RolloutsConfig
from weitiao.rollouts.describe import REFERENCE
from weitiao.rollouts.reference import Reference
from weitiao.rollouts.samples import Sample
from weitiao.training.engine import Engine


@dataclass(frozen=True, slots=True)
class Measurer:
    """Measures samples by the model that is trained, and makes items of them.

    Attributes:
        plan: How sequences are packed.
        num_steps: That learn from a rollout.
        prompt_ids: The tokens of every prompt, by its row.
        config: The section `rollouts`.
        settings: The section `objective` where answers are learned from by their rewards; else None.
        engine: Of the training.
        reference: The model that the training began with; None where KL has no coefficient.
    """

    plan: Plan
    num_steps: int
    prompt_ids: Mapping[str, TokenIds]
    config: RolloutsConfig
    settings: PolicyConfig | None
    engine: Engine
    reference: Reference | None

    def item(self, sample: Sample) -> Item:
        """A sample behind its prompt, with what is known of its tokens."""
        prompt = self.prompt_ids[sample.row_id]
        length, before = len(sample.token_ids), len(prompt)
        of_token = {"token": 1.0, "sequence": 1 / length, "constant": 1 / self.config.generation.max_new_tokens}
        known = {k: v for k, v in sample.columns.items() if k != "old_logprob" or self.num_steps > 1}

        def behind(values: ArrayLike) -> PerToken:
            return np.concatenate([np.zeros(before), np.broadcast_to(values, length)]).astype(np.float32)

        sequence = TokenSequence(
            sample.row_id,
            np.concatenate([prompt, np.array(sample.token_ids, np.int32)]),
            behind(of_token[self.settings.normalize if self.settings else "token"]),
            columns={name: behind(values) for name, values in known.items()},
        )
        return Item(sample.row_id, (sequence,))

    def measure(self, samples: Sequence[Sample], kl: float) -> None:
        """Note what the training's own forward pass says of samples, where it is needed, and their advantages.

        Args:
            samples: Those that are learned from; where it is not by their rewards, they stay as they are.
            kl: The coefficient of KL.
        """
        settings, reference = self.settings, self.reference
        if settings is None:
            return
        if self.num_steps > 1 or settings.values or (reference is not None and settings.kl_in == "reward"):
            self._note(samples, {"logprob": "old_logprob", "value": "old_value"})
        if reference is not None:
            with reference.in_place():
                self._note(samples, {"logprob": REFERENCE})
        scored = [self._scored(one, settings, kl) for one in samples]
        for one, columns in zip(samples, settings.columns(scored), strict=True):
            one.columns |= {name: values.tolist() for name, values in columns.items()}

    def _note(self, samples: Sequence[Sample], columns: Mapping[str, str]) -> None:
        """Put what the objective measures into columns of samples: by its name, the name of the column."""
        objective, plan = self.engine.objective, self.plan
        assert isinstance(objective, Policy)

        def measure(forest: Forest) -> dict[str, Tensor]:
            return objective.measured(forest, target_states(objective.model, forest))

        items = [self.item(one) for one in samples]
        with evaluating(objective), self.engine.precision.computing():
            found = computed_columns(items, measure, token_budget=plan.token_budget, share_prefixes=plan.share_prefixes)
        for one, measured in zip(samples, found, strict=True):
            one.columns |= {column: measured[name].tolist() for name, column in columns.items() if name in measured}

    def _scored(self, sample: Sample, settings: PolicyConfig, kl: float) -> Scored:
        """What the advantage of a sample is made from."""
        penalties = np.zeros(len(sample.token_ids))
        if self.reference is not None and settings.kl_in == "reward":
            own, reference = (torch.tensor(sample.columns[name]).double() for name in ("old_logprob", REFERENCE))
            penalties = kl * divergence(own, reference, settings.kl_estimator).numpy()
        return Scored(sample.group, sample.reward or 0.0, penalties, np.array(sample.columns.get("old_value", ())))
