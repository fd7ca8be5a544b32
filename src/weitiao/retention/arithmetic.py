"""Arithmetic for the suite, made from nothing but a seed: the same problems on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add, mul, sub

from weitiao.retention.parts import Instruction
from weitiao.seeding import shuffled

SEED = 20250301
ASK = "Answer with the number only."
ASK_ZH = "只回答数字。"

Numbers = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Problems of one form.

    Attributes:
        name: In item ids.
        num: How many.
        texts: What is asked, with places for the two numbers; used in turn.
        pairs: All pairs of numbers to choose from.
        solve: The answer.
        ask: How the answer shall be written.
    """

    name: str
    num: int
    texts: Sequence[str]
    pairs: Sequence[Numbers]
    solve: Callable[[int, int], int]
    ask: str = ASK


def _pairs(first: range, second: range, *, keep: Callable[[int, int], bool] = lambda a, b: True) -> list[Numbers]:
    return [(a, b) for a in first for b in second if keep(a, b)]


_DIGIT, _TEENS, _TWO_DIGITS = range(2, 10), range(11, 30), range(11, 90)

KINDS = (
    _Kind("sum-1", 16, ["What is {a} + {b}?"], _pairs(_DIGIT, _DIGIT), add),
    _Kind("sum-2", 12, ["What is {a} + {b}?"], _pairs(_TWO_DIGITS, _TWO_DIGITS), add),
    _Kind("difference-1", 12, ["What is {a} - {b}?"], _pairs(_DIGIT, _DIGIT, keep=lambda a, b: a > b), sub),
    _Kind("difference-2", 10, ["What is {a} - {b}?"], _pairs(_TWO_DIGITS, _TEENS, keep=lambda a, b: a > b), sub),
    _Kind("product", 14, ["What is {a} times {b}?"], _pairs(_DIGIT, _DIGIT), mul),
    _Kind(
        "story-sum",
        8,
        [
            "Tom has {a} apples. His sister gives him {b} more. How many apples does Tom have now?",
            "There are {a} red birds and {b} blue birds in a tree. How many birds are in the tree?",
            "Anna reads {a} pages in the morning and {b} pages in the evening. How many pages does she read?",
            "A bus carries {a} people. At the next stop {b} people get on. How many people are on the bus now?",
        ],
        _pairs(_DIGIT, _DIGIT),
        add,
    ),
    _Kind(
        "story-difference",
        8,
        [
            "Lucy has {a} sweets and eats {b} of them. How many sweets are left?",
            "A baker makes {a} loaves and sells {b} of them. How many loaves are left?",
            "There are {a} ducks on a pond and {b} fly away. How many ducks stay?",
            "Ben has {a} coins and spends {b} of them. How many coins does he still have?",
        ],
        _pairs(range(5, 20), _DIGIT, keep=lambda a, b: a > b),
        sub,
    ),
    _Kind(
        "story-zh",
        10,
        [
            "小明有{a}个苹果，妈妈又给了他{b}个。小明现在有几个苹果？",
            "树上有{a}只鸟，又飞来了{b}只。现在树上有几只鸟？",
        ],
        _pairs(_DIGIT, _DIGIT),
        add,
        ASK_ZH,
    ),
)


def problems() -> tuple[Instruction, ...]:
    """All problems, in the order of their kinds. An answer is right when its last number is."""
    made = []
    for seed, kind in enumerate(KINDS, start=SEED):
        order = shuffled(len(kind.pairs), seed=seed, epoch=0)[: kind.num]
        for number, index in enumerate(order):
            a, b = kind.pairs[index]
            result = kind.solve(a, b)
            question = kind.texts[number % len(kind.texts)].format(a=a, b=b)
            separator = "" if kind.ask == ASK_ZH else " "
            made.append(
                Instruction(
                    f"{kind.name}-{number + 1}",
                    f"{question}{separator}{kind.ask}",
                    {"number": {"value": result}},
                    str(result),
                )
            )
    return tuple(made)
