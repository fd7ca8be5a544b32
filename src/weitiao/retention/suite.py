"""The general suite that comes with the program: its data files, and what of them a small sample takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from importlib import resources
from typing import Any

from weitiao.evaluation.choice import ChoiceItem
from weitiao.retention.parts import ChoicePart, Instruction, InstructionPart, Part, PassagePart
from weitiao.seeding import shuffled

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
