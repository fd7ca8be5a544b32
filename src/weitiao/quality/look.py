"""What is noted of each row: its problems, and the numbers by which rows are compared with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weitiao.data.example import Example
from weitiao.data.formats.columns import LONGEST_LABEL
from weitiao.data.parts.asked import Boilerplate, own_text
from weitiao.data.reading.rows import Row
from weitiao.quality.findings import Problem
from weitiao.quality.meaning import Meaning
from weitiao.quality.row_checks import RowChecks
from weitiao.quality.settings import CheckSettings
from weitiao.quality.subject import Subject, SubjectReader
from weitiao.text.folding import fold, key_of, shingles, signatures

_SHORT_ANSWER = 40
_AGAINST_KINDS = frozenset({"format", "encoding"})


@dataclass(frozen=True, slots=True)
class Task:
    """A batch of rows to look at.

    Attributes:
        rows: The rows.
        meaning: What their columns mean.
        settings: What to look for.
        part: Which part of the data they belong to.
        shared: What does not make rows alike.
        sign: Whether signatures of whole rows are wanted.
        sign_inputs: Whether signatures of inputs are wanted.
    """

    rows: Sequence[Row]
    meaning: Meaning
    settings: CheckSettings
    part: str
    shared: Boilerplate
    sign: bool
    sign_inputs: bool


_NUMBERS = ("number", "line", "input_key", "answer_key", "short", "signed", "input_signed")
ROW = np.dtype({"names": _NUMBERS, "formats": ("u4", "u4", "u8", "u8", "?", "?", "?")})
"""The numbers of a row: its number in the file and the line on which it starts (0 without lines), the keys of what it
asks and of what tells it apart (0 where there is none), whether its answer is as short as a label, and whether it has a
signature, and its input one."""


@dataclass(slots=True)
class Looked:
    """What was noted of a batch.

    Attributes:
        rows: The numbers of each row, of the type `ROW`.
        more_keys: Further keys by which a row leaks, as pairs of a place in the batch and a key.
        labels: The answer where it may be a label, or None.
        problems: Pairs of a place in the batch and a problem.
        signatures, input_signatures: Signatures of whole rows, and of inputs; None where not wanted.
    """

    rows: NDArray
    more_keys: list[tuple[int, int]]
    labels: list[str | None]
    problems: list[tuple[int, Problem]]
    signatures: NDArray[np.uint16] | None = None
    input_signatures: NDArray[np.uint16] | None = None


class Measured(NamedTuple):
    """The length of an example, in tokens.

    Attributes:
        length: All tokens.
        supervised: Those that are learned.
        problem: Why it has none, such as a chat template that refuses it; empty otherwise.
    """

    length: int
    supervised: int
    problem: str = ""


Measure = Callable[[Sequence[Example]], Sequence[Measured]]
"""Counts the tokens of examples."""


def look(task: Task, measure: Measure | None = None) -> Looked:
    """Looks at a batch of rows.

    Args:
        task: The batch.
        measure: Counts tokens, for rows that are too long.
    """
    read = SubjectReader(task.meaning)
    settings = task.settings
    if task.part == "against":
        settings = replace(settings, kinds=settings.kinds & _AGAINST_KINDS)
    checks = RowChecks(settings, has_answers=task.meaning.has_answers)
    subjects = [read(row, str(row.number)) for row in task.rows]
    problems = [(place, problem) for place, subject in enumerate(subjects) for problem in checks(subject)]
    if task.part == "against":
        problems = [(place, problem._replace(severity="warning")) for place, problem in problems]
    if measure is not None and task.settings.max_tokens is not None:
        problems += _too_long(subjects, measure, task.settings)
    asked = [subject.asked for subject in subjects]
    told_apart = [fold(subject.told_apart) if subject.answer else "" for subject in subjects]
    rows = np.zeros(len(task.rows), ROW)
    rows["number"] = [row.number for row in task.rows]
    rows["line"] = [row.line or 0 for row in task.rows]
    rows["input_key"] = [_number(one.keys[0]) if one is not None else 0 for one in asked]
    rows["answer_key"] = [key_of(text) if text else 0 for text in told_apart]
    rows["short"] = [len(subject.label) <= _SHORT_ANSWER for subject in subjects]
    looked = Looked(
        rows,
        more_keys=[(i, _number(key)) for i, one in enumerate(asked) if one is not None for key in one.keys[1:]],
        labels=[subject.label if 0 < len(subject.label) <= LONGEST_LABEL else None for subject in subjects],
        problems=problems,
    )
    if task.sign or task.sign_inputs:
        own = [own_text(one, task.shared) if one is not None else "" for one in asked]
        parts = [task.shared.of_own(text) for text in own]
        if task.sign_inputs:
            looked.input_signatures, rows["input_signed"] = signatures(parts)
        if task.sign:
            whole = [
                _with_answer(subject, answer, text, known)
                for subject, answer, text, known in zip(subjects, told_apart, own, parts, strict=True)
            ]
            looked.signatures, rows["signed"] = signatures(whole)
    return looked


def answer_key(answer: str) -> int:
    """The key of an answer; 0 for none."""
    return key_of(fold(answer)) if answer else 0


def _with_answer(subject: Subject, answer: str, text: str, known: list[str]) -> list[str]:
    """The shingles of input and answer; those of the input alone where the answer is a label, which must be equal."""
    if subject.mark:
        answer = fold(subject.answer)
    elif len(subject.answer) <= _SHORT_ANSWER:
        return known
    return list(dict.fromkeys([*known, *(shingles(answer) or [answer])])) if known else shingles(f"{text} {answer}")


def _number(key: bytes) -> int:
    """The first 64 bits of a digest; a million different ones share them with a probability of 3 in 100 million."""
    return int.from_bytes(key[:8], "little")


def _too_long(subjects: Sequence[Subject], measure: Measure, settings: CheckSettings) -> Iterator[tuple[int, Problem]]:
    known = [(place, subject.example) for place, subject in enumerate(subjects) if subject.example is not None]
    for (place, _), measured in zip(known, measure([example for _, example in known]), strict=True):
        if measured.problem and "format" in settings.kinds:
            yield place, Problem("format", measured.problem)
        elif "long" in settings.kinds and measured.length > (settings.max_tokens or 0):
            limit, length = f"more than {settings.max_tokens:,} tokens", f"{measured.length:,} tokens"
            yield place, Problem("long", limit, "", length)
