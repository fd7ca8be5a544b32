"""Distillation: the distribution of every token comes nearer to that of a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weitiao.forest.layout import Forest
from weitiao.models.head import in_chunks
from weitiao.models.losses import logits_of, target_states
from weitiao.objectives.objective import Losses, Objective, sum_per_item
from weitiao.rendering.lengths import TextLength

ROW = "teacher_row"
"""The column with the place of a token in what was kept of its teacher; whole numbers below 2**24 in float32."""

_MORE = 4
"""How many times as many arrays [n, V] as for a cross-entropy are alive at once; so many times fewer rows are."""

Given = tuple[tuple[Tensor, ...], Callable[..., tuple[Tensor, Tensor]]]
"""What a teacher says of N targets: tensors of N rows; and what makes of a model's logits [n, V], and these rows, the
log-probabilities of teacher and model over the same tokens."""


def jensen_shannon(teacher_NV: Tensor, student_NV: Tensor, beta: float) -> Tensor:
    """The generalised Jensen-Shannon divergence [N] of log-probabilities (https://arxiv.org/abs/2306.13649, section 2).

    beta KL(P, M) + (1 - beta) KL(Q, M), M = beta P + (1 - beta) Q, P being the teacher. At 0 and 1 it vanishes; as in
    TRL, 0 stands for the forward divergence KL(P, Q), whose direction its gradient has near 0, and 1 for the reverse
    one, KL(Q, P) (MiniLLM, https://arxiv.org/abs/2306.08543).
    """
    if beta == 0:
        return (teacher_NV.exp() * (teacher_NV - student_NV)).sum(1)
    if beta == 1:
        return (student_NV.exp() * (student_NV - teacher_NV)).sum(1)
    mixed_NV = torch.logaddexp(teacher_NV + math.log(beta), student_NV + math.log1p(-beta))
    of_teacher = (teacher_NV.exp() * (teacher_NV - mixed_NV)).sum(1)
    return beta * of_teacher + (1 - beta) * (student_NV.exp() * (student_NV - mixed_NV)).sum(1)


def with_rest(logprobs_NV: Tensor, ids_NK: Tensor) -> Tensor:
    """Log-probabilities of K tokens and, last, that of all others together: [N, K + 1]."""
    others_N1 = logprobs_NV.scatter(1, ids_NK, -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat([logprobs_NV.gather(1, ids_NK), others_N1], 1)


class Live:
    """A teacher in memory, in evaluation mode; no part of the module that learns.

    Args:
        model: A causal language model with forest attention, possibly inside PEFT's.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @torch.no_grad()
    def of(self, forest: Forest, temperature: float) -> Given:
        """Its final states [N, D] at the targets of a forest."""
        states_ND = target_states(self.model, forest)
        head = logits_of(self.model, states_ND)

        def compared(logits: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                own = head(states).float()
            size = min(own.shape[1], logits.shape[1])  # one of the two may be padded
            teacher, student = ((one[:, :size] / temperature).log_softmax(1) for one in (own, logits))
            return teacher, student

        return (states_ND,), compared

    @torch.no_grad()
    def likeliest(self, forest: Forest, num: int, temperature: float, vocabulary: int) -> dict[str, Tensor]:
        """What is kept of it: `ids` [N, K] of the likeliest tokens, `logprobs` [N, K + 1] of these and of the rest.

        Args:
            forest: Of the rows.
            num: K; one less than the vocabulary at most.
            temperature: By which its logits are divided.
            vocabulary: Of the model that learns; further ids are padding.
        """
        states_ND = target_states(self.model, forest)
        head = logits_of(self.model, states_ND)

        def found(states: Tensor) -> Tensor:
            logprobs = (head(states)[:, :vocabulary].float() / temperature).log_softmax(1)
            ids = logprobs.topk(min(num, logprobs.shape[1] - 1)).indices
            return torch.cat([with_rest(logprobs, ids), ids.float()], 1)

        both = in_chunks(found, head, states_ND, parts=_MORE)
        size = both.shape[1] // 2
        return {"ids": both[:, size + 1 :], "logprobs": both[:, : size + 1]}


class Kept:
    """What a teacher gave all targets of a training; the column `ROW` says which are those of a token.

    Args:
        ids_MK: Its likeliest tokens.
        logprobs_MR: Their log-probabilities and, last, that of all other tokens together; R = K + 1.
    """

    def __init__(self, ids_MK: Tensor, logprobs_MR: Tensor) -> None:
        self._ids, self._logprobs = ids_MK, logprobs_MR

    def of(self, forest: Forest, temperature: float) -> Given:
        """Ids [N, K] and log-probabilities [N, K + 1] of the targets of a forest."""
        rows_N = torch.from_numpy(forest.targets.columns[ROW]).long()

        def compared(logits: Tensor, ids: Tensor, logprobs: Tensor) -> tuple[Tensor, Tensor]:
            return logprobs, with_rest((logits / temperature).log_softmax(1), ids)

        return (self._ids[rows_N].long(), self._logprobs[rows_N]), compared


class DistillSettings(Protocol):
    """What the loss depends on; the settings of `DistillConfig`."""

    temperature: float
    sft_weight: float
    on_policy: bool

    @property
    def divergence(self) -> float: ...


class Distill(Objective):
    """The objective `distill`: T^2 times the divergence at temperature T, plus the supervised loss by its weight.

    T^2 keeps the size of the gradients, and so the proportion of the two (https://arxiv.org/abs/1503.02531, section 2);
    TRL leaves it out. The divergence that is logged is without it.
    """

    teacher: Live | Kept
    """Whose distributions are learned. Until a training sets it the model's own, so that a forecast can be made."""

    def __init__(self, model: nn.Module, settings: DistillSettings) -> None:
        super().__init__(model)
        self.settings = settings
        self.teacher = Live(model)
        self.told = () if settings.on_policy else ("divergence",)

    def forward(self, forest: Forest) -> Losses:
        hidden_ND = target_states(self.model, forest, self.kept)
        labels_N, weights_N = (torch.from_numpy(one) for one in (forest.targets.labels, forest.targets.weights))
        given, compared = self.teacher.of(forest, self.settings.temperature)
        rows = [one.to(hidden_ND.device) for one in (labels_N, *given)]
        head = logits_of(self.model, hidden_ND)
        values = in_chunks(self._values(head, compared), head, hidden_ND, *rows, parts=_MORE, one_learned=True)
        losses_N, *further = values.unbind(1)
        weights_N = weights_N.to(losses_N.device)
        sums = ((one.detach().double() * weights_N.double()).sum() for one in further)
        metrics = dict(zip(("divergence", "cross_entropy"), sums, strict=True))
        per_item = sum_per_item(losses_N.double() * weights_N.double(), forest)
        return Losses((losses_N * weights_N).sum(), per_item, metrics)

    def _values(
        self, head: Callable[[Tensor], Tensor], compared: Callable[..., tuple[Tensor, Tensor]]
    ) -> Callable[..., Tensor]:
        """What gives states [n, D] their loss, which is learned, and divergence and cross-entropy: [n, 3]."""
        settings = self.settings

        def values(states: Tensor, labels: Tensor, *given: Tensor) -> Tensor:
            logits = head(states).float()
            apart = jensen_shannon(*compared(logits, *given), settings.divergence)
            with torch.set_grad_enabled(torch.is_grad_enabled() and settings.sft_weight > 0):
                own = F.cross_entropy(logits, labels, reduction="none")
            losses = settings.temperature**2 * apart + settings.sft_weight * own
            return torch.stack([losses, apart, own], 1)

        return values

    def readings(self, loss: float, text: TextLength) -> dict[str, float]:
        """On the model's own answers, the loss is the divergence."""
        return {"divergence": loss / self.settings.temperature**2} if self.settings.on_policy else {}
