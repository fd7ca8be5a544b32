"""What is in the data: counts, lengths, languages, labels, the longest and shortest rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from weitiao.data.formats.columns import LONGEST_LABEL
from weitiao.quality.findings import shortened
from weitiao.quality.labels import LabelNames, Labels
from weitiao.quality.language import language_of, load_identifier
from weitiao.quality.look import Measure, Measured, Task
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Part, open_sources
from weitiao.quality.subject import Subject, SubjectReader
from weitiao.quality.table import tasks

_NUM_BINS = 16
_NUM_EXTREMES = 5


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often lengths occur.

    Attributes:
        edges: Bounds of the bins, ascending; one more than there are bins. A bin holds its lower bound.
        counts: Rows in each bin.
    """

    edges: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of rows in tokens or characters: mean, quantiles and histogram."""

    mean: float
    shortest: int
    median: int
    p90: int
    p99: int
    longest: int
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class RowLength:
    """A row that is among the longest or the shortest, with the beginning of its input."""

    file: str
    row: int
    length: int
    text: str


@dataclass(frozen=True, slots=True)
class PartInspection:
    """One part of the data.

    Attributes:
        name: `train`, `replay`, `validation` or `test`.
        sources: One line per source: file, kind of file, format.
        rows: Rows that can be used.
        unusable: Rows that cannot; `weitiao data check` says why.
        turns: How many rows have so many turns.
        lengths: Lengths of whole rows.
        answer_lengths: Lengths of what is learned of them.
        supervised_share: Learned tokens (or characters of answers) of all.
        input_languages, answer_languages: Rows for each language (ISO 639-1) or script; the empty name is for rows
            without words. Labels have no language.
        labels: Rows per label where the answers are a closed set, the most frequent first.
        longest_rows, shortest_rows: The extremes.
    """

    name: str
    sources: tuple[str, ...]
    rows: int
    unusable: int
    turns: dict[int, int]
    lengths: Lengths | None
    answer_lengths: Lengths | None
    supervised_share: float
    input_languages: dict[str, int]
    answer_languages: dict[str, int]
    labels: dict[str, int]
    longest_rows: tuple[RowLength, ...]
    shortest_rows: tuple[RowLength, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in the data.

    Attributes:
        unit: What lengths are counted in: `tokens` or `characters`.
        parts: The parts that have sources.
        left_out: What could not be found out here, with the reason.
    """

    unit: str
    parts: tuple[PartInspection, ...]
    left_out: dict[str, str] = field(default_factory=dict)


class _Noted(NamedTuple):
    """What is noted of one row that can be used."""

    number: int
    length: int
    answer_length: int
    turns: int
    input_language: str
    answer_language: str
    label: str | None
    text: str


def inspect(
    parts: Sequence[Part],
    *,
    on_rows: Callable[[int], None] = lambda _: None,
    measure: Measure | None = None,
) -> Inspection:
    """Inspects data in one pass.

    Args:
        parts: The parts; `against` has no place here.
        on_rows: Is told how many rows were looked at since the last time.
        measure: Counts tokens; without it, lengths are in characters.

    Raises:
        DataError: A source cannot be read at all.
    """
    sources = open_sources(parts)
    settings = CheckSettings()
    tallies = {part.name: _Tally() for part in parts}

    for (source, file), task in tasks(sources, settings, near=False, near_leak=False):
        noted, unusable = _note(task, measure)
        tallies[source.part].add(file, noted, unusable)
        on_rows(len(noted) + unusable)
    left_out = {kind: reason for kind, reason in settings.left_out().items() if kind == "language"}
    found = []
    for part in parts:
        lines = tuple(str(one) for one in sources if one.part == part.name)
        found.append(tallies[part.name].result(part.name, lines))
    return Inspection("characters" if measure is None else "tokens", tuple(found), left_out)


def _note(task: Task, measure: Measure | None) -> tuple[list[_Noted], int]:
    """What is noted of the rows of a batch that can be used, and how many cannot."""
    read = SubjectReader(task.meaning)
    identifier = load_identifier() if task.settings.available("language") else None
    noted = []
    subjects = [subject for row in task.rows if (subject := read(row, str(row.number))).problem is None]
    if measure is None:
        sizes = list(map(_characters, subjects))
    else:
        sizes = list(measure([subject.example for subject in subjects if subject.example is not None]))
    for subject, size in zip(subjects, sizes, strict=True):
        if size.problem:
            continue
        asked = "\n".join(subject.inputs)
        noted.append(
            _Noted(
                number=subject.row.number,
                length=size.length,
                answer_length=size.supervised,
                turns=len(subject.messages),
                input_language=language_of(asked, identifier),
                answer_language=language_of(subject.answer, identifier) if subject.answer else "",
                label=subject.label if 0 < len(subject.label) <= LONGEST_LABEL else None,
                text=shortened(asked, 80),
            )
        )
    return noted, len(task.rows) - len(noted)


def _characters(subject: Subject) -> Measured:
    sizes = [(len(text), role in ("assistant", "text")) for role, _, text in subject.texts()]
    return Measured(sum(size for size, _ in sizes), sum(size for size, is_answer in sizes if is_answer))


class _Tally:
    """Adds the rows of one part up."""

    def __init__(self) -> None:
        self._lengths: list[Any] = []
        self._unusable = 0
        self._turns = Counter[int]()
        self._languages = (Counter[str](), Counter[str]())
        self._labels = LabelNames()
        self._label_ids = [np.empty(0, dtype=np.int32)]
        self._longest: list[RowLength] = []
        self._shortest: list[RowLength] = []

    def add(self, file: str, usable: Sequence[_Noted], unusable: int) -> None:
        self._unusable += unusable
        self._lengths.append(
            np.array([(one.length, one.answer_length) for one in usable], dtype=np.int64).reshape(-1, 2)
        )
        self._turns.update(one.turns for one in usable)
        self._languages[0].update(one.input_language for one in usable)
        self._languages[1].update(one.answer_language for one in usable)
        self._label_ids.append(self._labels([one.label for one in usable]))
        rows = [RowLength(file, one.number, one.length, one.text) for one in usable]
        self._longest = sorted([*self._longest, *rows], key=lambda row: -row.length)[:_NUM_EXTREMES]
        self._shortest = sorted([*self._shortest, *rows], key=lambda row: row.length)[:_NUM_EXTREMES]

    def result(self, name: str, sources: tuple[str, ...]) -> PartInspection:
        lengths = np.concatenate(self._lengths) if self._lengths else np.empty((0, 2), dtype=np.int64)
        total, learned = (int(value) for value in lengths.sum(axis=0))
        closed = Labels(np.concatenate(self._label_ids), self._labels.names).closed(np.arange(len(lengths)))
        labels = dict(sorted(closed.items(), key=lambda item: (-item[1], item[0])))
        return PartInspection(
            name=name,
            sources=sources,
            rows=len(lengths),
            unusable=self._unusable,
            turns=dict(sorted(self._turns.items())),
            lengths=_lengths(lengths[:, 0]),
            answer_lengths=_lengths(lengths[:, 1]),
            supervised_share=learned / total if total else 0.0,
            input_languages=dict(self._languages[0].most_common()),
            # Labels such as `card_arrival` are in no language.
            answer_languages={} if labels else dict(self._languages[1].most_common()),
            labels=labels,
            longest_rows=tuple(self._longest),
            shortest_rows=tuple(self._shortest),
        )


def _lengths(values: Any) -> Lengths | None:
    """Quantiles are lengths that occur (the least one that so many rows do not exceed)."""
    if not len(values):
        return None
    low, high = int(values.min()), int(values.max())
    median, p90, p99 = (int(v) for v in np.quantile(values, [0.5, 0.9, 0.99], method="inverted_cdf"))
    # The few longest rows would squeeze all others into the first bins.
    top = max(p99, low) + 1
    edges = np.unique(np.linspace(low, top, _NUM_BINS + 1).round().astype(np.int64))
    if high >= edges[-1]:
        edges = np.append(edges, high + 1)
    counts, _ = np.histogram(values, bins=edges)
    histogram = Histogram(tuple(edges.tolist()), tuple(counts.tolist()))
    return Lengths(float(values.mean()), low, median, p90, p99, high, histogram)
