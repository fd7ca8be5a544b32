"""Which columns of a table ask and which answer, where no format says so: by their names, then by their values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, NamedTuple

from weitiao.data.formats.templates import variable

LONGEST_LABEL = 80
_LEAST_ROWS_PER_LABEL = 5
_QUESTIONS = (
    "prompt", "question", "query", "instruction", "input", "text", "sentence", "utterance", "message", "content",
    "问题", "提问", "指令", "输入", "文本", "句子", "内容",
)  # fmt: skip
_ANSWER = re.compile(
    r"answer|response|output|completion|target|reply|solution|summary|translation|label|category|class|intent|sentiment"
    r"|chosen|答|回复|输出|标签|类别",
    re.IGNORECASE,
)
_HAN = re.compile("[一-鿿]")


def is_closed(counts: Mapping[str, int], num_rows: int) -> bool:
    """Whether answers are labels: nine of ten rows have a short one, and each stands in five rows on average.

    Args:
        counts: How often each short answer stands.
        num_rows: All rows.
    """
    total = sum(counts.values())
    return bool(counts) and total * 10 >= num_rows * 9 and total >= _LEAST_ROWS_PER_LABEL * len(counts)


def labels_of(texts: Sequence[str]) -> Counter[str]:
    """How often each label stands, if texts are several labels of a closed set; empty otherwise."""
    counts = Counter(text for text in texts if 0 < len(text) <= LONGEST_LABEL and "\n" not in text)
    return counts if len(counts) > 1 and is_closed(counts, len(texts)) else Counter()


@dataclass(frozen=True)
class Column:
    """A column of texts, numbers or truth values, also one inside of others (`instances.0.output`).

    Attributes:
        path: Its name, below those of the columns around it.
        values: What stands there, without null.
        num_rows: All rows, those that lack it included.
    """

    path: tuple[str, ...]
    values: tuple[Any, ...]
    num_rows: int

    @property
    def name(self) -> str:
        """Its name as `columns` has it."""
        return ".".join(self.path)

    @property
    def template(self) -> str:
        """The Jinja template that prints it."""
        first, *rest = self.path
        inner = "".join(f"[{part}]" if part.isdigit() else f'["{part}"]' for part in rest)
        return variable(first).replace(" }}", f"{inner} }}}}")

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The values as text."""
        return tuple(map(str, self.values))

    @cached_property
    def is_text(self) -> bool:
        """Whether it holds texts only."""
        return all(isinstance(value, str) for value in self.values)

    @cached_property
    def is_flag(self) -> bool:
        """Whether it holds true and false."""
        return all(isinstance(value, bool) for value in self.values)

    @cached_property
    def is_prose(self) -> bool:
        """Whether it holds texts that differ, most of them more than a word, an address or a date."""
        if not self.is_text or len(self.values) * 2 <= self.num_rows or len(set(self.texts)) * 2 <= len(self.texts):
            return False
        return fmean(len(text.split()) > 2 or bool(_HAN.search(text)) for text in self.texts) > 0.5


class Pair(NamedTuple):
    """The column that asks and the one that answers, as far as they are found, among all columns."""

    question: Column | None
    answer: Column | None
    columns: tuple[Column, ...]

    def fields(self, question: str, answer: str) -> dict[str, str]:
        """What the two are called in a recipe: columns by field, with the `input` that an `instruction` has."""
        if question not in ("instruction", "指令"):
            return {"prompt": question, "completion": answer}
        named = (one.name for one in self.columns if one.is_text and one.path[-1] in ("input", "context", "输入"))
        asked = {"instruction": question, "input": next(named, "input")}
        return {**{field: name for field, name in asked.items() if field != name}, "output": answer}


def find_pair(objects: Sequence[dict[str, Any]], *, guess: bool) -> Pair:
    """Finds the columns that ask and answer.

    Args:
        objects: The first rows, or all.
        guess: Whether somebody looks at the result: columns inside of others count, and of several that may be meant
            the first is taken.
    """
    columns = _columns(objects, nested=guess)
    texts = [one for one in columns if one.is_text]
    question = next((one for name in _QUESTIONS for one in texts if one.path[-1] == name), None)
    others = [one for one in columns if one is not question]
    # A truth value answers only where its column is called so.
    answers = [one for one in others if (_ANSWER.fullmatch if one.is_flag else _ANSWER.search)(one.name)]
    # A text before a label, a label before a number; the word itself before a longer name.
    answers.sort(key=lambda one: (not one.is_prose, not one.is_text, _ANSWER.fullmatch(one.path[-1]) is None))
    if not answers:
        labels = sorted(
            (one for one in others if len(one.values) * 2 > len(objects) and labels_of(one.texts)),
            key=lambda one: one.is_flag,
        )
        answers = labels if guess or (len(labels) == 1 and not labels[0].is_flag) else []
    if not answers and guess:
        answers = [one for one in others if one.is_prose][question is None :]
    elif not answers and question is None and len(texts) == 2:
        answers = texts[1:]
    answer = answers[0] if answers else None
    left = [one for one in texts if one is not answer and (one.is_prose or not guess)]
    if question is None and left:
        if len(left) == 1 or (guess and (answer is None or answer.is_prose)):
            question = left[0]  # of two texts the first asks
        elif answer is not None:
            question = max(left, key=lambda one: fmean(map(len, one.texts)))
    return Pair(question, answer, tuple(columns))


def _columns(objects: Sequence[dict[str, Any]], *, nested: bool) -> list[Column]:
    """The columns of texts, numbers and truth values; those inside of others where most rows have them."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for row in objects:
        for path, value in _scalars(row, (), nested):
            found.setdefault(path, []).append(value)
    columns = [Column(path, tuple(values), len(objects)) for path, values in found.items()]
    return [one for one in columns if len(one.path) == 1 or len(one.values) * 2 > len(objects)]


def _scalars(value: Any, path: tuple[str, ...], nested: bool) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and (nested or not path):
        for key, inner in value.items():
            yield from _scalars(inner, (*path, str(key)), nested)
    elif isinstance(value, list) and value and isinstance(value[0], dict) and nested:
        yield from _scalars(value[0], (*path, "0"), nested)
    elif isinstance(value, str | int | float):
        yield path, value
