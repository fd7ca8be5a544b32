"""The retention suite that comes with the program, and a model scored on it, with the noise measured on the way."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from weitiao.evaluation.likelihood import ChoiceItem
from weitiao.retention.config import RetentionConfig
from weitiao.retention.parts import ChoicePart, Instruction, InstructionPart, Part, PassagePart, Scoring
from weitiao.retention.scores import PartScores, RetentionScores
from weitiao.seeding import shuffled

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


OnProgress = Callable[[str, float], None]
"""Called with the name of the part and the share of all work that is done, 0 to 1."""

NOISE_STRIDE = 8
"""Every eighth item is scored a second time, in other batches, to see what the same model differs by."""

NO_TEMPLATE = "the tokenizer has no chat template to ask with"


def run_retention(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    config: RetentionConfig,
    *,
    on_progress: OnProgress | None = None,
) -> RetentionScores:
    """Score a model on what it should not forget.

    Everything is greedy and the items are fixed, so that two models, or one before and after, are compared item by
    item.

    Args:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
        tokenizer: Its tokenizer, with the chat template of the training.
        config: The recipe section.
        on_progress: Told how far the work is.
    """
    begun = time.perf_counter()
    parts = retention_parts(config)
    skipped = {part.name: NO_TEMPLATE for part in parts if part.needs_chat_template and tokenizer.chat_template is None}
    steps = _steps([part for part in parts if part.name not in skipped])
    work = [part.work(tokenizer) for part, _ in steps]
    scores: list[PartScores] = []
    for index, (part, again) in enumerate(steps):

        def on_share(share: float, part: Part = part, index: int = index) -> None:
            if on_progress is not None:
                on_progress(part.name, (sum(work[:index]) + share * work[index]) / sum(work))

        scoring = Scoring(model, tokenizer, on_share, config.token_budget)
        if again:
            budget = max(1, config.token_budget // 3)
            scoring = replace(scoring, token_budget=budget, batch_size=5, share_prefixes=False)
        found = part.score(scoring)
        scores = _with_noise(scores, found) if again else [*scores, *found]
    return RetentionScores(fingerprint(parts), tuple(scores), skipped, time.perf_counter() - begun)


def retention_parts(config: RetentionConfig) -> tuple[Part, ...]:
    """The parts that a recipe asks for."""
    if config.suite == "none":
        return ()
    parts = full_suite() if config.suite == "full" else small_suite()
    parts = tuple(part for part in parts if config.parts is None or part.name in config.parts)
    if config.limit is not None:
        parts = tuple(part.subset(lambda num: sample(num, config.limit or num)) for part in parts)
    return parts


def fingerprint(parts: Sequence[Part]) -> str:
    """Changes when an item, or how it is asked and graded, does."""
    return hashlib.sha256("\n".join(part.identity() for part in parts).encode()).hexdigest()


def _steps(parts: Iterable[Part]) -> list[tuple[Part, bool]]:
    """Each part, and then a sample of it again, in other batches."""
    steps = []
    for part in parts:
        steps += [(part, False), (part.subset(lambda num: range(0, num, NOISE_STRIDE)), True)]
    return steps


def _with_noise(scores: Sequence[PartScores], again: Sequence[PartScores]) -> list[PartScores]:
    """The scores with the noise of the parts that were scored again."""
    repeated = {part.name: part.grades for part in again}
    noisy = []
    for part in scores:
        grades = repeated.get(part.name)
        if grades is not None:
            difference = sum(abs(part.grades[item] - grade) for item, grade in grades.items()) / len(grades)
            part = replace(part, noise=difference)  # noqa: PLW2901
        noisy.append(part)
    return noisy


SEED = 20250301

SMALL = {
    "knowledge-en": 36,
    "knowledge-zh": 12,
    "instructions-en": 10,
    "instructions-zh": 4,
    "arithmetic": 20,
    "text-en": 30,
    "text-zh": 8,
}
"""Items of each part in the small suite, enough for a demonstration."""

_QUESTION = {"en": "Question: {question}\nAnswer:", "zh": "问题：{question}\n答案："}
_DELIMITER = {"en": " ", "zh": ""}
_ANSWER_TOKENS, _NUMBER_TOKENS = 64, 24


def full_suite() -> tuple[Part, ...]:
    """All parts with all their items."""
    return (
        *(ChoicePart(f"knowledge-{language}", _choices(language), _DELIMITER[language]) for language in ("en", "zh")),
        *(
            InstructionPart(name, _instructions(name), _ANSWER_TOKENS)
            for name in ("instructions-en", "instructions-zh")
        ),
        InstructionPart("arithmetic", _instructions("arithmetic"), _NUMBER_TOKENS),
        *(PassagePart(f"text-{one}", {row["id"]: row["text"] for row in _rows(f"text-{one}")}) for one in ("en", "zh")),
    )


def small_suite() -> tuple[Part, ...]:
    """A sample of every part, the same each time."""
    return tuple(part.subset(partial(sample, num=SMALL[part.name])) for part in full_suite())


def sample(num_items: int, num: int) -> list[int]:
    """Indices of `num` of the items in their order, drawn with the seed of the suite; all when there are no more."""
    return sorted(shuffled(num_items, seed=SEED, epoch=0)[:num])


def _choices(language: str) -> tuple[ChoiceItem, ...]:
    """The right answer stands at each of the places equally often, in an order that the seed decides."""
    rows = list(_rows(f"knowledge-{language}"))
    items = []
    for rank, index in enumerate(shuffled(len(rows), seed=SEED, epoch=0)):
        row = rows[index]
        others = [row["others"][i] for i in shuffled(len(row["others"]), seed=SEED, epoch=index)]
        place = rank % (len(others) + 1)
        choices = (*others[:place], row["answer"], *others[place:])
        items.append((index, ChoiceItem(row["id"], _QUESTION[language].format(**row), choices, place)))
    return tuple(item for _, item in sorted(items, key=lambda pair: pair[0]))


def _instructions(name: str) -> tuple[Instruction, ...]:
    return tuple(Instruction(row["id"], row["prompt"], row["constraints"], row["answer"]) for row in _rows(name))


def _rows(name: str) -> Iterator[dict[str, Any]]:
    file = resources.files("weitiao.retention") / "suite" / f"{name}.jsonl"
    return map(json.loads, filter(None, file.read_text(encoding="utf-8").split("\n")))
