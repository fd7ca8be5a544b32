"""Solved examples in a prompt: which of the training part stand there, and what they cost."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise, zip_longest
from statistics import fmean

import numpy as np

from weitiao.baseline.config import Selection
from weitiao.data.example import Example, Message
from weitiao.data.parts.asked import Asked, asked_by, asked_in
from weitiao.data.parts.splits import seeded_order
from weitiao.data.parts.together import twins_of
from weitiao.errors import DataError, RecipeError, RenderingError
from weitiao.evaluation.answers import is_gradable
from weitiao.evaluation.metrics.labels import is_closed_label_set

Shots = tuple[Example, ...]
"""Solved examples, in the order in which they stand in the prompt."""


def with_shots(example: Example, shots: Sequence[Example]) -> Example:
    """Put solved examples before the question of a row, as turns that were already answered.

    Args:
        example: The row.
        shots: Examples with a question and an answer, in the order in which they shall stand. Of a conversation all
            turns up to the last answer are shown.

    Returns:
        The row with the further turns. Its own system turn stays first; those of the examples are left out.
    """
    system = example.messages[:1] if example.messages and example.messages[0]["role"] == "system" else ()
    shown = tuple(turn for shot in shots for turn in (*own_turns(shot), shot.messages[len(shot.prompt)]))
    return replace(example, messages=(*system, *shown, *example.messages[len(system) :]))


def own_turns(example: Example) -> tuple[Message, ...]:
    """The turns before the answer, without system turns, which all rows of a task usually share."""
    return tuple(message for message in example.prompt if message["role"] != "system")


def choose_shots(
    train: Sequence[Example], test: Sequence[Example], *, num: int, selection: Selection, seed: int
) -> tuple[Shots, ...]:
    """Choose solved examples for each test row.

    A training row that asks what any test row asks, or almost that, is never chosen; of training rows with the same
    input only the first can be. `random` and `per_class` choose by content and seed,
    not by place in the file, and the same examples for every row, so that all prompts share them. `nearest` orders the
    examples of a row by likeness, the most alike last, next to the question.

    Args:
        train: Rows to choose from. Rows without a question or an answer are passed over.
        test: The rows that are asked.
        num: Examples in a prompt; 0 chooses none.
        selection: How, see `BaselineConfig.selection`.
        seed: Of `random` and `per_class`.

    Returns:
        For each test row its examples.

    Raises:
        DataError: The training part has too few rows that can be chosen.
        RecipeError: `per_class` was asked for, and the answers are no closed set of labels.
    """
    if num == 0:
        return ((),) * len(test)
    pool = _pool(train, test)
    if len(pool) < num:
        raise DataError(
            f"baseline.shots: {num} examples are asked for, and the training part has {len(pool)} rows that can be "
            f"shown, of {len(train):,} (each input once, and none that a test row asks, or almost).",
            f"Ask for at most {len(pool)}, or give more training rows.",
        )
    if selection == "nearest":
        found = nearest([_question(row) for row in pool], [_question(row) for row in test], num)
        return tuple(tuple(pool[place] for place in reversed(places)) for places in found)
    order = seeded_order([asked_in(own_turns(row)).draw for row in pool], seed=seed, purpose="shots")
    shuffled = [pool[place] for place in order]
    chosen = tuple(_in_turn(shuffled, num) if selection == "per_class" else shuffled[:num])
    return (chosen,) * len(test)


def _pool(train: Sequence[Example], test: Sequence[Example]) -> list[Example]:
    first: dict[bytes, tuple[Asked, Example]] = {}
    for row in train:
        if is_gradable(row):
            asked = asked_by(row)
            first.setdefault(asked.keys[0], (asked, row))
    found = list(first.values())
    twins = set(twins_of([asked for asked, _ in found], [asked_by(row) for row in test]))
    return [row for place, (_, row) in enumerate(found) if place not in twins]


def _in_turn(rows: Sequence[Example], num: int) -> list[Example]:
    """One row of each label, then a second of each, and so on."""
    if not is_closed_label_set([row.answer.strip() for row in rows]):
        raise RecipeError(
            f"baseline.selection: per_class takes examples of each label, and the {len(rows):,} training answers are "
            "no closed set of labels (short answers that repeat).",
            "Set baseline.selection to random or nearest.",
        )
    by_label: dict[str, list[Example]] = {}
    for row in rows:
        by_label.setdefault(row.answer.strip(), []).append(row)
    rounds = chain.from_iterable(zip_longest(*by_label.values()))
    return list(islice((row for row in rounds if row is not None), num))


def _question(row: Example) -> str:
    return "\n".join(str(message["content"] or "") for message in own_turns(row) if message["role"] == "user")


# Scripts that are written without spaces between words, or (Hangul) whose words carry endings.
_CJK = "\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"(?P<cjk>[{_CJK}]+)|[^\W_{_CJK}]+")


def nearest(texts: Sequence[str], queries: Sequence[str], num: int) -> list[list[int]]:
    """Find for each query the texts with the highest BM25 score.

    BM25 as Lucene computes it, `k1 = 1.5` and `b = 0.75` (S. Robertson, H. Zaragoza, "The Probabilistic Relevance
    Framework: BM25 and Beyond", 2009; C. Kamphuis et al., "Which BM25 Do You Mean?", 2020, for the variant).

    Args:
        texts: What is searched, at least `num`.
        queries: What is searched for.
        num: How many texts for each query.

    Returns:
        For each query the places of its texts, the most alike first; of equal scores the earlier text first.
    """
    import bm25s

    # A text without a term still has to keep its place.
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index([terms(text) or [""] for text in texts], show_progress=False)
    found = []
    for query in queries:
        known = [term for term in terms(query) if term in index.vocab_dict]
        scores = index.get_scores(known) if known else np.zeros(len(texts))
        found.append([int(place) for place in np.argsort(-scores, kind="stable")[:num]])
    return found


def terms(text: str) -> list[str]:
    """Cut a text into what BM25 compares.

    Words are runs of letters and digits, without regard to case. Chinese, Japanese and Korean are cut into overlapping
    pairs of characters, for which no dictionary is needed and which retrieve about as well as words do (K. L. Kwok,
    "Comparing Representations in Chinese Information Retrieval", SIGIR 1997). A single character stands for itself.

    Args:
        text: The text.

    Returns:
        The terms in their order, repeated as often as they occur.
    """
    found: list[str] = []
    for match in _RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match.group()
        if match.group("cjk") and len(run) > 1:
            found += [first + second for first, second in pairwise(run)]
        else:
            found.append(run)
    return found


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
