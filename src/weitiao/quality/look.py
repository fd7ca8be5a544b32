"""What is noted of each row: its problems, and the numbers by which rows are compared with each other.

A pure function of a batch of rows, so that batches can be looked at in several processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from weitiao.data.example import Example
from weitiao.data.parts.asked import Boilerplate, own_text
from weitiao.data.reading.rows import Row
from weitiao.quality.findings import Problem
from weitiao.quality.meaning import Meaning
from weitiao.quality.row_checks import RowChecks
from weitiao.quality.settings import CheckSettings
from weitiao.quality.subject import Subject, SubjectReader
from weitiao.text.folding import fold, key_of
from weitiao.text.minhash import shingles, signatures

LONGEST_LABEL = 80
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
        keep: Whether the examples are wanted.
    """

    rows: Sequence[Row]
    meaning: Meaning
    settings: CheckSettings
    part: str
    shared: Boilerplate
    sign: bool
    sign_inputs: bool
    keep: bool = False


@dataclass(slots=True)
class Looked:
    """What was noted of a batch; arrays have one entry per row.

    Attributes:
        numbers: Number of the row in its file.
        lines: The line on which it starts; 0 where there are none.
        input_keys: Key of the folded input; 0 where none could be read.
        answer_keys: Key of the folded answer; 0 where the row has none.
        short: Whether the answer is as short as a label.
        more_keys: Further keys by which a row leaks, as pairs of a place in the batch and a key.
        labels: The answer where it may be a label, or None.
        problems: Pairs of a place in the batch and a problem.
        signatures, signed: Signatures of whole rows, and which have one; None and no row where not wanted.
        input_signatures, inputs_signed: The same of inputs.
        examples: What the rows mean, where that is wanted and they can be used.
    """

    numbers: NDArray[np.uint32]
    lines: NDArray[np.uint32]
    input_keys: NDArray[np.uint64]
    answer_keys: NDArray[np.uint64]
    short: NDArray[np.bool_]
    more_keys: list[tuple[int, int]]
    labels: list[str | None]
    problems: list[tuple[int, Problem]]
    signed: NDArray[np.bool_]
    inputs_signed: NDArray[np.bool_]
    signatures: NDArray[np.uint16] | None = None
    input_signatures: NDArray[np.uint16] | None = None
    examples: list[Example | None] | None = None


def look(task: Task) -> Looked:
    """Looks at a batch of rows."""
    read = SubjectReader(task.meaning)
    settings = task.settings
    if task.part == "against":
        settings = replace(settings, kinds=settings.kinds & _AGAINST_KINDS)
    checks = RowChecks(settings, has_answers=task.meaning.has_answers)
    subjects = [read(row, str(row.number)) for row in task.rows]
    problems = [(place, problem) for place, subject in enumerate(subjects) for problem in checks(subject)]
    if task.part == "against":
        problems = [(place, problem._replace(severity="warning")) for place, problem in problems]
    asked = [subject.asked for subject in subjects]
    told_apart = [fold(subject.told_apart) if subject.answer else "" for subject in subjects]
    looked = Looked(
        numbers=np.array([row.number for row in task.rows], dtype=np.uint32),
        lines=np.array([row.line or 0 for row in task.rows], dtype=np.uint32),
        input_keys=np.array([_number(one.keys[0]) if one is not None else 0 for one in asked], dtype=np.uint64),
        answer_keys=np.array([key_of(text) if text else 0 for text in told_apart], dtype=np.uint64),
        short=np.array([len(subject.label) <= _SHORT_ANSWER for subject in subjects], dtype=bool),
        more_keys=[(i, _number(key)) for i, one in enumerate(asked) if one is not None for key in one.keys[1:]],
        labels=[subject.label if 0 < len(subject.label) <= LONGEST_LABEL else None for subject in subjects],
        problems=problems,
        signed=np.zeros(len(task.rows), dtype=bool),
        inputs_signed=np.zeros(len(task.rows), dtype=bool),
        examples=[subject.example for subject in subjects] if task.keep else None,
    )
    if task.sign or task.sign_inputs:
        own = [own_text(one, task.shared) if one is not None else "" for one in asked]
        parts = [task.shared.of_own(text) for text in own]
        if task.sign_inputs:
            looked.input_signatures, looked.inputs_signed = signatures(parts)
        if task.sign:
            whole = [
                _with_answer(subject, answer, text, known)
                for subject, answer, text, known in zip(subjects, told_apart, own, parts, strict=True)
            ]
            looked.signatures, looked.signed = signatures(whole)
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
