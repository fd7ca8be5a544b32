"""The check, which tells all findings of files or of a recipe's data, and cleaning, which writes mended rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import SourceConfig
from weitiao.data.load import HeldOutRows
from weitiao.data.reading.paths import resolve_sources
from weitiao.data.reading.rows import shown
from weitiao.data.writing.writing import told
from weitiao.errors import DataError, MissingExtraError
from weitiao.json_text import json_text
from weitiao.paths import user_path
from weitiao.quality.across import find_across
from weitiao.quality.cleaning_pass import Cleaning, CleanSummary
from weitiao.quality.findings import Finding, Findings
from weitiao.quality.look import Measure
from weitiao.quality.settings import EXTRA, KINDS, NEEDS, SEVERITIES, CheckSettings
from weitiao.quality.sources import Part, findings_of, names_of, open_sources
from weitiao.quality.table import scan


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        findings: Sorted by severity, then kind.
        counts: For each kind that was found, the number of rows with it.
        rows: Rows that were looked at, those of evaluation sets included.
        seconds: How long it took.
        left_out: Checks that could not run here, with the reason.
        sources: One line per source: what it is and how its columns are understood.
        notes: What was found while the sources were read and has to be said, a sentence each.
        rows_of: The number of rows with findings of each severity and kind.
        rows_with: The number of rows with findings of each severity.
        fraction_files: The files of which rows are held out as a fraction.
    """

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    rows: int
    seconds: float
    left_out: dict[str, str]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    rows_of: dict[tuple[str, str], int] = field(default_factory=dict)
    rows_with: dict[str, int] = field(default_factory=dict)
    fraction_files: frozenset[str] = frozenset()

    @property
    def rows_per_second(self) -> float:
        """Rows looked at per second."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def has_errors(self) -> bool:
        """Whether a finding of severity error stands."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "findings": [finding.to_dict() for finding in self.findings],
            "counts": self.counts,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second, 1),
            "left_out": self.left_out,
            "sources": list(self.sources),
            "notes": list(self.notes),
        }


def check(
    parts: Sequence[Part],
    settings: CheckSettings | None = None,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
    measure: Measure | None = None,
    held_out: HeldOutRows | None = None,
) -> CheckReport:
    """Checks data.

    Args:
        parts: Training rows, held-out rows, evaluation sets; each row is checked, those of evaluation sets only for
            being readable and for leaks.
        settings: What to look for.
        on_rows: Is told how many rows were looked at since the last time.
        measure: Counts the tokens of examples, where `settings.max_tokens` limits them.
        held_out: The training rows that belong to `validation` and `test`.

    Raises:
        DataError: A source cannot be read at all.
    """
    settings = settings or CheckSettings()
    started = time.perf_counter()
    findings = Findings()
    sources = open_sources(parts)
    table = scan(sources, settings, findings, on_rows=on_rows, measure=measure, has_held_out=bool(held_out))
    for part, rows in (held_out or {}).items():
        table.move(rows, part)
    find_across(table, settings, findings)
    return CheckReport(
        findings=tuple(findings.sorted()),
        counts={kind: findings.counts[kind] for kind in KINDS if kind in findings.counts},
        rows=len(table.rows),
        seconds=time.perf_counter() - started,
        left_out=settings.left_out(),
        sources=names_of(sources),
        notes=findings_of(sources),
        rows_of=dict(findings.rows_of),
        fraction_files=frozenset(file for rows in (held_out or {}).values() for file, _ in rows),
        rows_with={name: findings.counts[name] for name in SEVERITIES if findings.counts[name]},
    )


def parts_of_files(
    files: Sequence[str | Path],
    against: Sequence[str | Path] = (),
    *,
    input_column: str | None = None,
    output_column: str | None = None,
) -> list[Part]:
    """Parts for files without a recipe.

    Args:
        files: Files, directories or hub ids; together they are the part `train`.
        against: Evaluation sets that must not stand in them.
        input_column: The column with the input, where the format is not known.
        output_column: The column with the answer.

    Raises:
        DataError: A path does not exist.
    """
    given, others = (
        resolve_sources((SourceConfig(path=str(path)) for path in paths), (Path.cwd(),)) for paths in (files, against)
    )
    parts = [Part("train", given, input_column, output_column)]
    return [*parts, Part("against", others)] if others else parts


CLEANED, REJECTED, SUMMARY = "cleaned.jsonl", "rejected.jsonl", "summary.json"


def clean(
    parts: Sequence[Part],
    config: CleanConfig,
    output: Path,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
) -> CleanSummary:
    """Cleans the part `train`.

    Rows keep their columns and their order, and nothing is added to them. Rows that cannot be read or used are always
    rejected. Cleaning what was cleaned gives the same bytes; but for the near forms, since the lines that many rows
    share are found anew in the rows that are left, and may make other rows alike.

    Args:
        parts: Training rows, and the parts that they must not leak into.
        config: What to do.
        output: A directory that does not exist yet, or is empty. It gets `cleaned.jsonl`, `rejected.jsonl` and
            `summary.json`.
        on_rows: Is told how many rows were looked at since the last time.

    Returns:
        The summary, as it stands in `summary.json`.

    Raises:
        DataError: A source cannot be read at all, or the directory holds files.
        MissingExtraError: A fix needs a package that is not installed.
    """
    settings = CheckSettings(kinds=frozenset(config.fix))
    for kind in config.fix:
        if not settings.available(kind):
            raise MissingExtraError(f"The fix `{kind}` ({NEEDS[kind]})", EXTRA)
    output = user_path(output).absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{shown(output)}: is there already and not empty.", "Name a new directory: --output DIR.")
    with _appearing(output) as (folder, scratch):
        cleaning = Cleaning(parts, config, scratch, on_rows)
        with (folder / REJECTED).open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as rejected:
            cleaning.run(folder / CLEANED, rejected)
        summary = cleaning.summary
        summary.changed, summary.rejected = (
            {kind: found[kind] for kind in KINDS if kind in found} for found in (summary.changed, summary.rejected)
        )
        summary.unfilled = dict(sorted(summary.unfilled.items(), key=lambda item: -item[1]))
        (folder / SUMMARY).write_text(json_text(summary, indent=2) + "\n", encoding="utf-8")
    return summary


@contextmanager
def _appearing(output: Path) -> Iterator[tuple[Path, Path]]:
    """A directory that takes its place when it is complete, and one for scratch files; both beside the place."""
    with told(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cleaning-", dir=output.parent) as beside:
            folder, scratch = Path(beside, "output"), Path(beside, "scratch")
            folder.mkdir()
            scratch.mkdir()
            yield folder, scratch
            folder.replace(output)
