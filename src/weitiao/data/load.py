"""From the recipe's section `data` to the examples of training, validation and test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.conversion.learned import compared_rows, with_numbers
from weitiao.data.example import ANSWERS, Example, Rows
from weitiao.data.formats.detection import detect
from weitiao.data.formats.formats import Converter
from weitiao.data.parts.asked import RawInput, asked_by
from weitiao.data.parts.mixing import how_often, take
from weitiao.data.parts.splits import Keyed, Overlap, find_overlaps, hold_out
from weitiao.data.parts.together import twins_of
from weitiao.data.reading.files import OpenedSource
from weitiao.data.reading.paths import labels, resolve_paths
from weitiao.data.reading.rows import BadRow, Notes
from weitiao.data.writing.rejected import RejectedRows, Rejection
from weitiao.errors import DataError, Phrase
from weitiao.text.wording import Wording

_NUM_NAMED = 8
PARTS = ("train", "validation", "test")
HeldOutRows = Mapping[str, Set[tuple[str, int]]]
"""For each part, the files of its rows, as messages print them, and their numbers."""
REPLAY = "replay"
"""What general rows are called as a source."""


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """What was read from one source.

    Attributes:
        part: `train`, `validation`, `test` or `replay`.
        path: The path, or the hub id.
        kind: What the file is: `JSON`, `JSON Lines`, `CSV`, ...; several joined by ` + ` for a directory of them.
        format: What the columns mean: `alpaca`, `messages`, ...
        detected: Whether the format was found out; false when the recipe states it.
        rows: Usable rows, before `weight`.
        rejected: Rows that cannot be used.
        note: What was done with the rows, where that is not plain from the recipe.
        findings: What was found while they were read and has to be said, a sentence each.
    """

    part: str
    path: str
    kind: str
    format: str
    detected: bool
    rows: int
    rejected: int
    note: str = ""
    findings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.in_words(Wording("en"))

    def in_words(self, words: Wording) -> str:
        """What was read, in a line, and what was found in lines below it."""
        format = words("progress.detected", format=self.format) if self.detected else self.format
        facts = [self.kind, format, words("progress.usable", rows=self.rows)]
        facts += [words("progress.rejected", rows=self.rejected)] if self.rejected else []
        facts += [self.note] if self.note else []
        line = words("progress.source", part=self.part, path=self.path, facts=words("progress.comma").join(facts))
        return "\n  ".join((line, *self.findings))


@dataclass(frozen=True, slots=True)
class DataSet:
    """The examples of a recipe.

    Attributes:
        train: Examples to learn from, in the order of the sources and their rows, repeated as `weight` says; the
            general rows of `replay` come last.
        validation: Examples to choose the best checkpoint by; may be empty.
        test: Examples for the final score; may be empty.
        summaries: One per source, in the same order.
        overlaps: Pairs of parts that share inputs.
        fingerprint: SHA-256 (hex) of the content and order of all examples, for the exact resumption of a run. File
            names and columns outside of the conversation do not count.
        num_replay: How many examples at the end of `train` are general rows.
        sources: Row id to the short name of its source, for training and validation rows; general rows are `replay`.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    summaries: tuple[SourceSummary, ...]
    overlaps: tuple[Overlap, ...]
    fingerprint: str
    num_replay: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def task_train(self) -> tuple[Example, ...]:
        """The training examples of the task itself, without the general rows of `replay`."""
        return self.train[: len(self.train) - self.num_replay]


class _Loaded(NamedTuple):
    """The usable rows of one source."""

    source: SourceConfig
    summary: SourceSummary
    rows: list[Keyed]
    first_problem: Rejection | None


def load_data(config: DataConfig, *, rows: Rows = ANSWERS, rejected_path: Path | None = None) -> DataSet:
    """Reads, checks and splits the data of a recipe.

    Held-out fractions are taken before `weight` and `replay` are applied, so a test set does not change with the
    mixture and holds no row more often than the files do.

    Args:
        config: The recipe's section. Paths that are still relative are looked up in the current directory.
        rows: Which rows are wanted, as the objective says.
        rejected_path: Where skipped rows are listed (`on_bad_rows: skip`); None lists them nowhere. Of several
            processes only one should give it.

    Raises:
        DataError: A file is missing or cannot be read, no format fits, rows are bad (`on_bad_rows: error`), a part
            has no rows, or a fraction cannot be held out.
    """
    config = resolve_paths(config, (Path.cwd(),))
    opened = _opened(config)
    with RejectedRows(rejected_path, skip=config.on_bad_rows == "skip") as rejected:
        loaded = [_load_source(part, source, rejected, rows, seed=config.seed) for part, source in opened]
    if rejected.count and config.on_bad_rows == "error":
        raise rejected.error()
    for one in loaded:
        if one.first_problem is not None and not one.summary.rows:
            raise DataError(
                Phrase(
                    "{path}: none of its {count:,} rows can be used; {first}.",
                    path=one.summary.path,
                    count=one.summary.rejected,
                    first=one.first_problem.sentence(),
                ),
                "Check `format`, `columns` and the templates of the source.",
            )
    return _assemble(config, loaded)


def held_out_rows(config: DataConfig, rows: Rows = ANSWERS) -> HeldOutRows:
    """The rows of the training sources that fractions hold out; bad rows are left out.

    Args:
        config: The recipe's section.
        rows: Which rows are wanted.

    Raises:
        DataError: As `load_data`.
    """
    config = resolve_paths(config, (Path.cwd(),)).model_copy(update={"replay": None, "on_bad_rows": "skip"})
    opened = [source for _, source in _opened(config)]
    shown = {name: file for source in opened for name, file in zip(source.names, source.files, strict=True)}
    data = load_data(config, rows=rows)
    parts = {"validation": data.validation, "test": data.test}
    places = {part: [one.row_id.rpartition(":") for one in parts[part]] for part in config.fractions}
    return {part: {(shown[name], int(number)) for name, _, number in rows} for part, rows in places.items()}


def _opened(config: DataConfig) -> list[tuple[str, OpenedSource]]:
    """All sources with their parts; no two files of them have one name in row ids."""
    opened = [(part, OpenedSource(source)) for part, sources in config.sources.items() for source in sources]
    names = iter(labels([path for _, source in opened for path in source.paths]))
    for _, source in opened:
        source.names = [next(names) for _ in source.paths]
    return opened


def _load_source(part: str, opened: OpenedSource, rejected: RejectedRows, rows: Rows, *, seed: int) -> _Loaded:
    """Reads one source."""
    source, told, known = opened.config, "", None
    if rows.record in ("answer", "prompt"):
        format, answers = source.format, rows.record == "answer"
        if format == "auto":
            found = detect(source, opened.head, opened.shown, answers=answers)
            told = "" if source.columns else found.told
            format, source = found.format, found.source
        converter = Converter(source, format, answers=answers)
        name, convert, known = str(format), with_numbers(converter, rows), converter.columns
    else:
        name, convert = compared_rows(opened, rows)
    raw_input = RawInput(source.prompt)
    before = rejected.count
    usable: list[Keyed] = []
    notes, columns = Notes(), dict[str, None]()
    first_problem: Rejection | None = None
    for file, row_id, row in opened.rows():
        try:
            example = convert(row, row_id)
        except BadRow as problem:
            rejection = rejected.add(file, row, problem)
            first_problem = first_problem or rejection
        else:
            usable.append(Keyed(asked_by(example, raw_input(row.data)), example))
            columns.update(dict.fromkeys(example.columns))
            if rows.record != "prompt" and example.messages and example.messages[-1]["role"] != "assistant":
                notes.add("go on after their last answer, with turns that nothing is learned from", example.row_id)
    if source.sample is not None and usable:
        usable = take(usable, min(source.sample, len(usable)), seed=seed, purpose="sample")
    findings = [*([f"read with {told}"] if told else []), *opened.findings(), *notes.lines()]
    used = None if known is None else known.union(rows.numbers.values())
    if unread := [] if used is None else [column for column in columns if column not in used]:
        findings.append(f"columns that no turn is made of: {_listed(unread)}")
    detected, count = opened.config.format == "auto", rejected.count - before
    summary = SourceSummary(
        part, opened.shown, opened.kind, name, detected, len(usable), count, findings=tuple(findings)
    )
    return _Loaded(source, summary, usable, first_problem)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NUM_NAMED
    return ", ".join(names[:_NUM_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _assemble(config: DataConfig, loaded: Sequence[_Loaded]) -> DataSet:
    """Holds out the fractions, repeats the training rows as their sources' weights say, and adds the general rows."""
    given = {part: [row for one in loaded if one.summary.part == part for row in one.rows] for part in PARTS}
    asked = {part: max(1, round(share * len(given["train"]))) for part, share in config.fractions.items()}
    near = config.keep_together == "near"
    held = hold_out(given["train"], list(asked.values()), seed=config.seed, near=near)
    *held_out, rest = held.parts
    parts = {**given, **dict(zip(asked, held_out, strict=True)), "train": rest}
    for part in ("train", *asked):
        if not parts[part]:
            raise DataError(
                f"data.{part}: no row is left for it: the training sources have {len(given['train']):,} rows with "
                f"{len({row.asked.keys[0] for row in given['train']}):,} different inputs, which are never split up.",
                "Give more rows, another fraction, or a file of its own.",
            )
    train: list[Example] = []
    sources: dict[str, str] = {}
    left = {id(row.example) for row in rest}
    for one, name in zip(loaded, labels([one.source.path for one in loaded]), strict=True):
        sources |= {row.example.row_id: name for row in one.rows if one.summary.part in ("train", "validation")}
        if one.summary.part == "train":
            rows = [row for row in one.rows if id(row.example) in left]
            rounds, fraction = divmod(one.source.weight, 1)
            # A source that is in the recipe is in the training data, however small its weight.
            count = max(1, int(rounds) * len(rows) + round(fraction * len(rows)))
            repeated = [row.example for row in (take(rows, count, seed=config.seed, purpose="weight") if rows else ())]
            sources |= {example.row_id: name for example in repeated}
            train += repeated
    summaries = [one.summary for one in loaded]
    replayed: list[Example] = []
    if config.replay is not None:
        scored = [row for part in ("validation", "test") for row in parts[part]]
        # The source of `replay` is read last.
        replayed, summaries[-1] = _replay(config, loaded[-1], len(train), scored)
        train += replayed
        sources |= {row.row_id: REPLAY for row in replayed}
    validation, test = (tuple(row.example for row in parts[part]) for part in ("validation", "test"))
    return DataSet(
        train=tuple(train),
        validation=validation,
        test=test,
        summaries=tuple(summaries),
        overlaps=find_overlaps(parts, near=bool(held.apart)),
        fingerprint=_fingerprint({"train": train, "validation": validation, "test": test}),
        num_replay=len(replayed),
        sources=sources,
    )


def _replay(
    config: DataConfig, loaded: _Loaded, num_train: int, scored: Sequence[Keyed]
) -> tuple[list[Example], SourceSummary]:
    """Chooses the general rows, and says in the summary how many there are."""
    assert config.replay is not None
    share = config.replay.share
    near = config.keep_together == "near"
    twins = set(twins_of([row.asked for row in loaded.rows], [row.asked for row in scored], near=near))
    usable = [row for position, row in enumerate(loaded.rows) if position not in twins]
    if not usable:
        raise DataError(
            f"data.replay: {loaded.summary.path}: each of its {len(loaded.rows):,} rows has the input of a validation "
            "or test row, and such rows are not trained on.",
            "Give general rows that are not among those that are scored.",
        )
    count = max(1, round(num_train * share / (1 - share)))
    examples = [row.example for row in take(usable, count, seed=config.seed, purpose="replay")]
    note = f"{count:,} of the {num_train + count:,} training rows ({count / (num_train + count):.1%})"
    if count > len(usable):
        note += f", each {how_often(count, len(usable))}"
    if len(usable) < len(loaded.rows):
        note += f"; {len(loaded.rows) - len(usable):,} left out because validation or test has their input"
    return examples, replace(loaded.summary, note=note)


def _fingerprint(parts: Mapping[str, Sequence[Example]]) -> str:
    digest = hashlib.sha256()
    for part, examples in parts.items():
        digest.update(f"{part}\n".encode())
        for example in examples:
            compared = [example.rejected, example.numbers] if example.rejected or example.numbers else []
            content = [example.messages, example.text, example.tools, *compared, *example.steps]
            digest.update(json.dumps(content, ensure_ascii=False, default=str).encode() + b"\n")
    return digest.hexdigest()
