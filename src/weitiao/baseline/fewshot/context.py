"""What a prompt costs: tokens, and the share of the model's context that its examples take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from weitiao.errors import RenderingError


@dataclass(frozen=True, slots=True)
class PromptCost:
    """The length of the prompts of one kind, over the test rows.

    Attributes:
        prompt_tokens: Mean tokens of a prompt.
        longest_prompt: Tokens of the longest one.
        example_tokens: Mean tokens that the solved examples take.
        context: The model's context, in tokens.
        context_share: `example_tokens / context`.
    """

    prompt_tokens: float
    longest_prompt: int
    example_tokens: float
    context: int
    context_share: float


def prompt_cost(lengths: Sequence[int], bare_lengths: Sequence[int], *, context: int) -> PromptCost:
    """Summarise prompts.

    Args:
        lengths: Tokens of each row's prompt.
        bare_lengths: Tokens of the same rows' prompts without examples.
        context: The model's context, in tokens.
    """
    example_tokens = fmean(lengths) - fmean(bare_lengths)
    return PromptCost(fmean(lengths), max(lengths), example_tokens, context, example_tokens / context)


def require_room(
    lengths: Sequence[int],
    bare_lengths: Sequence[int],
    row_ids: Sequence[str],
    *,
    shots: int,
    max_new_tokens: int,
    context: int,
    model: str,
) -> None:
    """Refuse examples that leave too little of the context for the answers.

    Args:
        lengths: Tokens of each row's prompt.
        bare_lengths: Tokens of the same rows' prompts without examples.
        row_ids: The rows.
        shots: Examples in each prompt.
        max_new_tokens: Tokens that an answer may have.
        context: The model's context, in tokens.
        model: What the error calls the model.

    Raises:
        RenderingError: A prompt and its answer do not fit into the context.
    """
    worst = max(range(len(lengths)), key=lengths.__getitem__)
    if lengths[worst] + max_new_tokens <= context:
        return
    bare = bare_lengths[worst]
    per_shot = (lengths[worst] - bare) / shots if shots else 0.0
    room = context - max_new_tokens - bare
    if shots and room >= per_shot:
        remedy = f"Set baseline.shots to about {int(room / per_shot)} at most, "
    elif shots:
        remedy = "Leave examples out (baseline.shots: [0]), "
    else:
        remedy = "Shorten or remove the row, "
    taken = f", {lengths[worst] - bare:,} of them its {shots} examples" if shots else ""
    raise RenderingError(
        f"{row_ids[worst]}: the {shots}-shot prompt of {lengths[worst]:,} tokens{taken}, and an answer of up to "
        f"{max_new_tokens:,} do not fit into the context of {model}, {context:,} tokens.",
        f"{remedy}lower evaluate.generation.max_new_tokens, or use a model with a longer context.",
    )
