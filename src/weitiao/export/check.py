"""Whether two models answer alike: logits on probe prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weitiao.errors import WeitiaoError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LAST_POSITIONS = 64
"""Positions that are compared at the end of each prompt; bounds the memory of the logits of a large vocabulary."""

_SMALLEST_EFFECT = 1e-4
"""Below this share of the logits' scale, an adapter's effect drowns in the rounding of float32."""

_QUESTIONS = (
    "What is the capital of France?",
    "请用一句话解释什么是微调，并举一个例子。",
    "Order #40917: 12 boxes at 3.50 each, delivered on 2024-02-29. What is the total?",
)
_TEXTS = (
    "The",
    "def fibonacci(n):\n    a, b = 0, 1\n    while b < n:\n        a, b = b, a + b\n    return a\n",
    '{"id": 7, "tags": ["α", "β"], "price": 1e-3, "note": "naïve café 🙂"}',
    "从前有一座山，山里有一座庙。",
    " ".join(
        f"{number}. Item {number} costs {number * 7 % 100} and weighs {number * 13 % 50} kg." for number in range(1, 25)
    ),
)


class MergeError(WeitiaoError):
    """The check says no: the merged model does not answer as base and adapter do."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a merged model may differ by.

    Attributes:
        difference: Largest difference of a logit, as a share of the logits' scale.
        lost_effect: Share of what the adapter changes that may be lost (both as root mean squares).
        disagreement: Share of positions at which the most likely token may be another.
    """

    difference: float
    lost_effect: float
    disagreement: float


TOLERANCES = {
    "float32": Tolerance(difference=1e-3, lost_effect=0.05, disagreement=0.005),
    "float16": Tolerance(difference=0.1, lost_effect=0.25, disagreement=0.02),
    "bfloat16": Tolerance(difference=0.75, lost_effect=0.5, disagreement=0.1),
}
"""By the number format of the merged weights: rounding them moves the logits more than the sums in float32 do."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the logits of two models agree.

    Attributes:
        num_prompts: Probe prompts.
        num_positions: Positions that were compared.
        logit_scale: Standard deviation of the reference's logits, about their mean at each position.
        max_difference: Largest absolute difference of two logits.
        relative_difference: That as a share of `logit_scale`.
        top1_agreement: Share of positions at which both find the same token most likely.
        adapter_effect: Root mean square of what the adapter changes in the logits, as a share of `logit_scale`.
        lost_effect: Root mean square of the difference, as a share of the adapter's effect; a model that lost the
            adapter has 1. None for an adapter that changes nothing.
    """

    num_prompts: int
    num_positions: int
    logit_scale: float
    max_difference: float
    relative_difference: float
    top1_agreement: float
    adapter_effect: float
    lost_effect: float | None

    def within(self, tolerance: Tolerance) -> bool:
        """Whether the models agree; a logit that is no number never does."""
        return (
            self.relative_difference <= tolerance.difference
            and 1 - self.top1_agreement <= tolerance.disagreement
            and (self.lost_effect is None or self.lost_effect <= tolerance.lost_effect)
        )


def require_agreement(agreement: Agreement, dtype: str) -> None:
    """Refuse a merged model that does not answer as base and adapter do.

    Args:
        agreement: From `compare`.
        dtype: Number format of the merged weights, a key of `TOLERANCES`.

    Raises:
        MergeError: The logits differ by more than the format explains.
    """
    tolerance = TOLERANCES[dtype]
    if agreement.within(tolerance):
        return
    lost = "" if agreement.lost_effect is None else f", {agreement.lost_effect:.1%} of the adapter's effect is lost"
    raise MergeError(
        f"The merged model in {dtype} does not answer as base and adapter do: on {agreement.num_positions} positions "
        f"of {agreement.num_prompts} probe prompts the logits differ by up to {agreement.relative_difference:.2g} of "
        f"their scale (allowed: {tolerance.difference:g}), the most likely token is the same on "
        f"{agreement.top1_agreement:.1%}{lost}.",
        "Nothing was kept. Serve base and adapter as they are."
        if dtype == "float32"
        else "Nothing was kept. Merge with --dtype float32, which rounds nothing.",
    )


def probe_texts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts of several kinds, and questions for a chat."""
    return _TEXTS, _QUESTIONS


def probe_prompts(tokenizer: PreTrainedTokenizerBase, *, max_context: int | None) -> tuple[tuple[int, ...], ...]:
    """Prompts of several kinds: chats as the template prints them, prose, code, JSON, digits, Chinese, short and long.

    Args:
        tokenizer: Its chat template, if it has one, renders some of the prompts.
        max_context: The model's context, at which longer prompts are cut; None for a model without a limit.
    """
    from weitiao.rendering.render import Prompts

    prompts = [tokenizer(text)["input_ids"] for text in (*_QUESTIONS, *_TEXTS)]
    if tokenizer.chat_template is not None:
        prompt = Prompts(tokenizer)
        prompts += [prompt([{"role": "user", "content": text}]) for text in (*_QUESTIONS, _TEXTS[-1])]
    return tuple(tuple(ids[:max_context]) for ids in prompts)


def last_logits(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """The logits at the last positions of each prompt, each prompt run alone.

    Returns:
        For each prompt a float32 tensor `(min(64, length), V)` on the CPU.
    """
    import torch

    from weitiao.models.parts import require_embeddings

    require_embeddings(model, (("A probe prompt", ids) for ids in prompts))
    with torch.inference_mode():
        return [
            model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
            .logits[0, -_LAST_POSITIONS:]
            .float()
            .cpu()
            for ids in prompts
        ]


def compare(
    reference: Sequence[torch.Tensor], other: Sequence[torch.Tensor], base: Sequence[torch.Tensor]
) -> Agreement:
    """Compare the logits of a merged model with those of base model and adapter.

    Args:
        reference: Logits with the adapter, as `last_logits` gives them.
        other: Logits of the merged model on the same prompts.
        base: Logits of the base model without the adapter on the same prompts.
    """
    import torch

    num_positions = sum(len(one) for one in reference)
    num_values = sum(one.numel() for one in reference)
    square_scale = square_error = square_effect = max_difference = 0.0
    num_same = 0
    for reference_TV, other_TV, base_TV in zip(reference, other, base, strict=True):
        error_TV = other_TV - reference_TV
        square_scale += float((reference_TV - reference_TV.mean(-1, keepdim=True)).double().square().sum())
        square_error += float(error_TV.double().square().sum())
        square_effect += float((reference_TV - base_TV).double().square().sum())
        # Not Python's max, which would pass over a value that is no number.
        max_difference = float(torch.maximum(torch.tensor(max_difference), error_TV.abs().max()))
        num_same += int((reference_TV.argmax(-1) == other_TV.argmax(-1)).sum())
    scale = (square_scale / num_values) ** 0.5
    effect = (square_effect / num_values) ** 0.5 / scale
    return Agreement(
        num_prompts=len(reference),
        num_positions=num_positions,
        logit_scale=scale,
        max_difference=max_difference,
        relative_difference=max_difference / scale,
        top1_agreement=num_same / num_positions,
        adapter_effect=effect,
        lost_effect=(square_error / square_effect) ** 0.5 if effect > _SMALLEST_EFFECT else None,
    )
