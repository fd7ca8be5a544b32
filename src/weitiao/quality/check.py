"""The check: all findings of some files or of a recipe's data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weitiao.data.config import SourceConfig
from weitiao.data.load import HeldOutRows
from weitiao.data.reading.paths import resolve_sources
from weitiao.quality.across import find_across
from weitiao.quality.findings import Finding, Findings
from weitiao.quality.look import Measure
from weitiao.quality.scan import scan
from weitiao.quality.settings import KINDS, SEVERITIES, CheckSettings
from weitiao.quality.sources import Part, findings_of, names_of, open_sources


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
