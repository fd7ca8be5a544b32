"""Prompts to batches that share long beginnings, and a batch to one row of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weitiao.forest.layout import Ints, Layout, build_layout, common_prefix_length

Prompt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PromptRow:
    """The prompts of a batch as one row of T tokens.

    Attributes:
        layout: The row: a forest in which every shared beginning stands once.
        paths: For each prompt, the places of its tokens in the row.
        shared_length: Tokens that all prompts have in common. They are the first of the row.
    """

    layout: Layout
    paths: tuple[Ints, ...]
    shared_length: int


def make_batches(
    prompts: Sequence[Prompt], *, batch_size: int, token_budget: int, share_prefixes: bool = True
) -> list[list[int]]:
    """Put prompts that begin alike together.

    Args:
        prompts: Token ids.
        batch_size: Prompts in a batch at most.
        token_budget: Tokens in a batch at most, a beginning shared with the prompt before counted once. A prompt that
            is longer makes a batch of its own.
        share_prefixes: Whether shared beginnings are stored once; without it they are counted each time.

    Returns:
        Indices of prompts, batch by batch.
    """
    batches: list[list[int]] = []
    previous: Prompt = ()
    filled = 0
    for index in sorted(range(len(prompts)), key=prompts.__getitem__):
        prompt = prompts[index]
        cost = len(prompt) - (common_prefix_length(previous, prompt) if share_prefixes else 0)
        if batches and len(batches[-1]) < batch_size and filled + cost <= token_budget:
            batches[-1].append(index)
            filled += cost
        else:
            batches.append([index])
            filled = len(prompt)
        previous = prompt
    return batches


def common_beginning(prompts: Sequence[Prompt]) -> Prompt:
    """The tokens with which all prompts begin, short of the last token of each: that one is still to be run."""
    first, last = min(prompts), max(prompts)  # what these two begin with is what all begin with
    length = min(common_prefix_length(first, last), min(map(len, prompts)) - 1)
    return first[:length]


def lay_out(prompts: Sequence[Prompt], *, share_prefixes: bool = True) -> PromptRow:
    """Lay the prompts of a batch out in one row.

    Args:
        prompts: Token ids; any two may be alike, or one the beginning of another.
        share_prefixes: Store a shared beginning once. Without it, every prompt is a tree of its own.

    Returns:
        The row, with the paths in the order of the prompts.
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__) if share_prefixes else list(range(len(prompts)))
    layout, laid_out = build_layout([prompts[i] for i in order], share_prefixes=share_prefixes)
    paths = dict(zip(order, laid_out, strict=True))
    # in sorted order, what the first and the last begin with is what all begin with
    shared = common_prefix_length(prompts[order[0]], prompts[order[-1]]) if share_prefixes else 0
    return PromptRow(layout, tuple(paths[i] for i in range(len(prompts))), shared)
