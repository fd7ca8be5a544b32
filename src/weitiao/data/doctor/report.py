"""Findings and inspections as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from weitiao.data.doctor.check import CheckReport
from weitiao.data.doctor.clean import CleanSummary
from weitiao.data.doctor.findings import Finding
from weitiao.data.doctor.kinds import KINDS, SEVERITIES
from weitiao.terminal import quoted

if TYPE_CHECKING:
    from rich.console import Console

_COLOURS = {"error": "bold red", "warning": "yellow", "info": "dim"}
_NUM_REASONS = 4


def print_check(report: CheckReport, console: Console) -> None:
    """Print what was found: one row per kind and severity with an example, then what to do about each kind.

    Args:
        report: The findings.
        console: Where to.
    """
    from rich.table import Table

    for kind, reason in report.left_out.items():
        console.print(Text(f"Not checked: {kind}: {reason}", "yellow"), soft_wrap=True)
    if not report.findings:
        console.print(Text(f"Nothing found in {report.rows:,} rows.", "green"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("Severity")
    table.add_column("Kind", no_wrap=True)
    table.add_column("Rows", justify="right")
    table.add_column("What, and where first", overflow="fold")
    for group in _groups(report.findings):
        first = group[0]
        rows = sum(finding.count for finding in group)
        colour = _COLOURS[first.severity]
        table.add_row(Text(first.severity, colour), Text(first.kind), f"{rows:,}", _described(group))
    console.print(table)
    console.print()
    remedies = Table.grid(padding=(0, 2))
    remedies.add_column(no_wrap=True)
    remedies.add_column(overflow="fold")
    for kind in report.counts:
        remedies.add_row(Text(kind, "bold"), Text(KINDS[kind].remedy))
    console.print(remedies)


def summary_of(report: CheckReport) -> str:
    """One line: how many rows, how fast, and how many findings of each severity."""
    numbers = {name: sum(f.count for f in report.findings if f.severity == name) for name in SEVERITIES}
    found = ", ".join(f"{number:,} rows with {name}s" for name, number in numbers.items() if number)
    return f"{report.rows:,} rows in {report.seconds:.1f} s ({report.rows_per_second:,.0f} rows/s): {found or 'clean'}"


def clean_command(report: CheckReport, files: Sequence[str], against: Sequence[str]) -> str:
    """The command that mends what was found: all errors, or all warnings where there is no error.

    Args:
        report: What was found.
        files: What was checked.
        against: The evaluation sets.
    """
    kinds: list[str] = []
    for severity in SEVERITIES:
        kinds = [kind for kind in report.counts if KINDS[kind].fixable and _is_found(report, kind, severity)]
        if kinds:
            break
    if not kinds:
        return f"weitiao data inspect {' '.join(map(quoted, files))}"
    needed = against if {"leak", "near_leak"} & set(kinds) else ()
    options = [
        *(f"--against {quoted(path)}" for path in needed),
        *(f"--fix {kind}" for kind in kinds),
        "--output cleaned",
    ]
    return f"weitiao data clean {' '.join([*map(quoted, files), *options])}"


def _is_found(report: CheckReport, kind: str, severity: str) -> bool:
    return any(finding.kind == kind and finding.severity == severity for finding in report.findings)


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return list(groups.values())


def _described(group: Sequence[Finding]) -> Text:
    text = Text()
    ordered = sorted(group, key=lambda finding: -finding.count)
    for finding in ordered[:_NUM_REASONS]:
        if text:
            text.append("\n")
        count = f" ({finding.count:,})" if len(group) > 1 else ""
        text.append(f"{finding.reason}{count}: ")
        text.append(f"{finding.file}:{finding.row}", "cyan")
        if finding.line is not None and finding.line != finding.row:
            text.append(f" (line {finding.line})", "cyan")
        if finding.others:
            text.append(f" = {finding.others[0]}", "cyan")
            if finding.kind in ("leak", "near_leak"):
                text.append(f", {finding.num_others:,} rows of it in all")
        if finding.example and finding.kind != "leak":
            text.append(f"  {finding.example}", "dim")
    if len(group) > _NUM_REASONS:
        text.append(f"\nand {len(group) - _NUM_REASONS:,} more (--json lists all)", "dim")
    return text


def print_cleaning(summary: CleanSummary, console: Console) -> None:
    """Print what cleaning did: rows before and after, what was mended, what was rejected.

    Args:
        summary: What was done.
        console: Where to.
    """
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "before", "after", "difference"):
        table.add_column(name, justify="left" if not name else "right")
    for name, before, after in (
        ("rows", summary.rows_before, summary.rows_after),
        ("characters", summary.characters_before, summary.characters_after),
    ):
        table.add_row(Text(name, "bold"), f"{before:,}", f"{after:,}", f"{after - before:+,}")
    console.print(table)
    console.print()
    details = Table.grid(padding=(0, 2))
    for name, counts in (("mended", summary.changed), ("rejected", summary.rejected)):
        for kind, count in counts.items():
            details.add_row(Text(name, "bold"), f"{count:,}", f"{kind}: {KINDS[kind].meaning}")
    console.print(details if details.row_count else Text("Nothing was changed.", "green"))
