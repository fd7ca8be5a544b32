"""How likely a model holds texts to be, through the forest: continuations, whole sequences, and multiple choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weitiao.errors import DataError
from weitiao.rendering.items import Item, TokenSequence
from weitiao.rendering.lengths import TextLength

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


Progress = Callable[[int, int], None]
"""Called with what is done (answers, sequences) and how much there is."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What a model makes of the targets of a sequence.

    Attributes:
        log_likelihood: The sum of their log-probabilities, in nats.
        num_tokens: How many they are.
        text: The length of the text that they stand for; None where nobody asked.
    """

    log_likelihood: float
    num_tokens: int
    text: TextLength | None = None

    @property
    def loss(self) -> float:
        """Nats per token."""
        return -self.log_likelihood / self.num_tokens


def first_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the tokenizer puts in front of a text by itself: the BOS token, or nothing."""
    bos: int | None = tokenizer.bos_token_id
    return (bos,) if bos is not None and tokenizer("a")["input_ids"][0] == bos else ()


def continuation(tokenizer: PreTrainedTokenizerBase, row_id: str, context: str, text: str) -> TokenSequence:
    """A context and what follows it as a sequence whose targets are the tokens of the continuation.

    Both are tokenised together and the context alone; what the whole has beyond the context is the continuation. Space
    at the end of the context belongs to the continuation, because tokens begin with it, and the BOS token is there only
    if the tokenizer puts one. This is how lm-evaluation-harness does it (`TemplateLM._encode_pair` of 0.4.13).

    Args:
        tokenizer: Of the model.
        row_id: What errors name.
        context: What is given; when it is empty, the BOS token is (or, without one, the EOS token).
        text: What follows, with the space before it.

    Raises:
        DataError: Nothing is left to predict.
    """
    given = context.rstrip()
    text = context[len(given) :] + text
    first = first_ids(tokenizer)
    if not given and not first:
        first = (tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id,)
    whole, known = (
        tuple(tokenizer(part, add_special_tokens=False)["input_ids"]) if part else () for part in (given + text, given)
    )
    fresh = whole[len(known) :]
    if not fresh:
        raise DataError(f"{row_id}: the continuation {text!r} has no token of its own.", "Give it some text.")
    ids = (*first, *known, *fresh)
    return TokenSequence.of(row_id, ids, [0.0] * (len(ids) - len(fresh)) + [1.0] * len(fresh))


def passage(tokenizer: PreTrainedTokenizerBase, row_id: str, text: str) -> TokenSequence:
    """A text of which every token is a target, apart from the first when nothing stands in front of it.

    Raises:
        DataError: Nothing is left to predict.
    """
    ids = (*first_ids(tokenizer), *tokenizer(text, add_special_tokens=False)["input_ids"])
    if len(ids) < 2:
        raise DataError(f"{row_id}: a text of one token has nothing to be predicted.", "Give a longer text.")
    return TokenSequence.of(row_id, ids, [0.0] + [1.0] * (len(ids) - 1))


def likelihoods(
    model: nn.Module,
    sequences: Sequence[TokenSequence],
    *,
    token_budget: int,
    share_prefixes: bool = True,
    on_progress: Progress | None = None,
) -> list[Likelihood]:
    """The log-likelihood of the targets of every sequence, as if each were computed alone.

    Args:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
        sequences: With weights 0 and 1; of weight 1 are the targets.
        token_budget: Tokens computed at once, shared beginnings counted once. A longer sequence is computed alone.
        share_prefixes: Compute shared beginnings once; the result is the same.
        on_progress: Told how many sequences are done.

    Returns:
        One per sequence, in order.

    Raises:
        DataError: A sequence is longer than the model's context.
        ModelError: The model gives in a forest other losses than for each sequence alone.
    """
    found = token_logprobs(
        model, sequences, token_budget=token_budget, share_prefixes=share_prefixes, on_progress=on_progress
    )
    return [Likelihood(math.fsum(one), len(one)) for one in found]


def token_logprobs(
    model: nn.Module,
    sequences: Sequence[TokenSequence],
    *,
    token_budget: int,
    share_prefixes: bool = True,
    on_progress: Progress | None = None,
) -> list[tuple[float, ...]]:
    """The log-probability of every target of every sequence, in order; arguments and errors are those above."""
    import torch

    from weitiao.forest.plan import pack
    from weitiao.models.losses import token_losses
    from weitiao.models.parts import evaluating
    from weitiao.models.probe import probe_once

    if not sequences:
        return []
    _require_room(model, sequences)
    longest = max(sequence.num_inputs for sequence in sequences)
    probe_once(model, [s.token_ids for s in sequences[:4]], longest=longest, share_prefixes=share_prefixes)
    numbered = [Item(str(index), (sequence,)) for index, sequence in enumerate(sequences)]
    budget = max(token_budget, longest)
    found: dict[int, tuple[float, ...]] = {}
    with evaluating(model), torch.no_grad():
        for forest in pack(numbered, token_budget=budget, share_prefixes=share_prefixes):
            losses_N = token_losses(model, forest)[0].cpu()
            of_N = torch.from_numpy(forest.target_items)  # of a sequence they stand side by side, in its order
            for place, name in enumerate(forest.row_ids):
                found[int(name)] = tuple((-losses_N[of_N == place]).tolist())
            if on_progress is not None:
                on_progress(len(found), len(sequences))
    return [found[index] for index in range(len(sequences))]


def _require_room(model: nn.Module, sequences: Sequence[TokenSequence]) -> None:
    from weitiao.models.parts import causal_model, context_length, require_embeddings

    require_embeddings(model, ((sequence.row_id, sequence.token_ids) for sequence in sequences))
    context = context_length(causal_model(model).config)
    if context is None:
        return
    for sequence in sequences:
        if sequence.num_inputs > context:
            raise DataError(
                f"{sequence.row_id}: {len(sequence):,} tokens, more than the model's context of {context:,}.",
                "Shorten or remove it, or use a model with a longer context.",
            )


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A question with several answers, one of them right.

    Attributes:
        item_id: Its name.
        question: The whole text before the answer, such as `Question: ...\\nAnswer:`.
        choices: The answers, without the space before them.
        answer: Index of the right one.
    """

    item_id: str
    question: str
    choices: tuple[str, ...]
    answer: int

    def __post_init__(self) -> None:
        assert 0 <= self.answer < len(self.choices)


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """What a model makes of an item.

    Attributes:
        item: The item.
        likelihoods: Of each choice after the question.
    """

    item: ChoiceItem
    likelihoods: tuple[Likelihood, ...]

    @property
    def log_likelihoods(self) -> list[float]:
        """Of each choice, summed over its tokens, in nats."""
        return [one.log_likelihood for one in self.likelihoods]

    @property
    def choice(self) -> int:
        """The most likely choice; of equal ones the first."""
        return max(range(len(self.likelihoods)), key=self.log_likelihoods.__getitem__)

    @property
    def correct(self) -> bool:
        """Whether the most likely choice is right (`acc` of lm-evaluation-harness)."""
        return self.choice == self.item.answer

    @property
    def answer_likelihood(self) -> Likelihood:
        """How likely the right choice is. Its loss moves where the share of right choices does not."""
        return self.likelihoods[self.item.answer]


def score_choices(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[ChoiceItem],
    *,
    token_budget: int,
    delimiter: str = " ",
    share_prefixes: bool = True,
    on_progress: Progress | None = None,
) -> list[ChoiceResult]:
    """Score multiple-choice items: each question is computed once, each choice is a branch behind it.

    Args:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
        tokenizer: Its tokenizer.
        items: The items.
        token_budget: Tokens computed at once.
        delimiter: What stands between question and choice.
        share_prefixes: Compute what the choices have in common once; the result is the same.
        on_progress: Told how many choices are done, and how many there are.

    Returns:
        One result per item, in order.

    Raises:
        DataError: A question with a choice is longer than the model's context, or a choice has no token of its own.
    """
    sequences = [
        continuation(tokenizer, item.item_id, item.question, delimiter + choice)
        for item in items
        for choice in item.choices
    ]
    scored = iter(
        likelihoods(model, sequences, token_budget=token_budget, share_prefixes=share_prefixes, on_progress=on_progress)
    )
    return [ChoiceResult(item, tuple(next(scored) for _ in item.choices)) for item in items]
