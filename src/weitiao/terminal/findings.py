"""Findings and inspections as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from weitiao.console import quoted
from weitiao.data.reading.paths import labels
from weitiao.errors import Phrase
from weitiao.quality.check import CheckReport
from weitiao.quality.cleaning_pass import CleanSummary
from weitiao.quality.findings import Finding
from weitiao.quality.markup import names_in
from weitiao.quality.settings import KINDS
from weitiao.terminal.console import wording_of
from weitiao.terminal.tables import facts, table
from weitiao.text.wording import Language, Wording

_COLOURS = {"error": "bold red", "warning": "yellow", "info": "dim"}
_NUM_REASONS = 4
_FRACTIONS = (
    "Keep them on one side: data.keep_together: near, which is the default. Where it is set, their group is too large "
    "for a part: give the part a file of its own."
)


def print_check(
    report: CheckReport, console: Console, *, files: Sequence[str], against: Sequence[str] = (), verbose: bool = False
) -> None:
    """Print what was found: one row per kind and severity with an example, then what to do about each kind.

    Args:
        report: The findings.
        console: Where to.
        files: What was checked, as it was named, for the commands that mend it.
        against: The evaluation sets.
        verbose: Print every reason with several examples, not only the most frequent ones.
    """
    for source in report.sources:
        console.print(Text(source, "bold"), soft_wrap=True)
    for note in report.notes:
        console.print(Text(f"  {note}"), soft_wrap=True)
    words = wording_of(console)
    say = words.phrase
    for kind, reason in report.left_out.items():
        left_out = Phrase("Not checked: {kind}: {why}", kind=kind, why=Phrase(reason))
        console.print(Text(say(left_out), "yellow"), soft_wrap=True)
    if not report.findings:
        console.print(Text(say(Phrase("Nothing found in {rows:,} rows.", rows=report.rows)), "green"))
        return
    names, rows = _Names(report, say), []
    for group in _groups(report.findings):
        first = group[0]
        described = _every_reason(group, names) if verbose else _described(group, names)
        count = report.rows_of[first.severity, first.kind]
        severity = Text(words(f"severity.{first.severity}"), _COLOURS[first.severity])
        rows.append((severity, first.kind, count, described))
    headings = map(say, ("Severity", "Kind", "Rows", "What, and where for example"))
    console.print(table(headings, rows, words=(0, 1, 3)))
    console.print()
    for kind in report.counts:
        between = _is_between_fractions(report, kind)
        text = Text(kind, "bold").append(f"  {say(_FRACTIONS if between else KINDS[kind].remedy)}", "none")
        severities = {severity for severity, found in report.rows_of if found == kind}
        # What is only remarked upon stays as it is.
        if KINDS[kind].fixable and not between and (severities != {"info"} or KINDS[kind].severity == "info"):
            text.append(f"\n  {_clean_command(report, [kind], files, against)}", "cyan")
        # Not in a table: what the terminal wraps can be copied as one line.
        console.print(text, soft_wrap=True)


def summary_of(report: CheckReport, language: Language = "en") -> str:
    """One line: how many rows, how fast, and how many of them have findings of each severity."""
    words = Wording(language)
    found = [words(f"done.check.{name}", rows=words.count(rows)) for name, rows in report.rows_with.items()]
    return words(
        "done.check", rows=words.count(report.rows), seconds=f"{report.seconds:.1f}",
        speed=words.count(report.rows_per_second),
        found=words("list.comma").join(found or [words("done.check.clean")]),
    )  # fmt: skip


def next_command(report: CheckReport, files: Sequence[str], against: Sequence[str]) -> str:
    """What to do next: the fixes that lose nothing, or else a look at all findings.

    Args:
        report: What was found.
        files: What was checked.
        against: The evaluation sets.
    """
    exact = [kind for kind in report.counts if KINDS[kind].exact and not _is_between_fractions(report, kind)]
    if exact:
        return _clean_command(report, exact, files, against)
    return " ".join(["weitiao data check", *map(quoted, files), *_against(against), "--verbose"])


def _clean_command(report: CheckReport, kinds: Sequence[str], files: Sequence[str], against: Sequence[str]) -> str:
    words = ["weitiao data clean", *map(quoted, files)]
    words += _against(against) if {"leak", "near_leak"} & set(kinds) else []
    for kind in kinds:
        words += [f"--fix {kind}", *([KINDS[kind].options] if KINDS[kind].options else [])]
    if "placeholder" in kinds:
        reasons = " ".join(finding.reason for finding in report.findings if finding.kind == "placeholder")
        words += [f"--set {quoted(f'{name}=VALUE')}" for name in names_in(reasons)[:_NUM_REASONS]]
    return " ".join([*words, "--output cleaned"])


def _is_between_fractions(report: CheckReport, kind: str) -> bool:
    """Whether rows leak only into fractions of their own files, which cleaning does not know."""
    others = {other.rpartition(":")[0] for one in report.findings if one.kind == kind for other in one.others}
    return kind in ("leak", "near_leak") and others <= report.fraction_files


def _against(against: Sequence[str]) -> list[str]:
    return [f"--against {quoted(path)}" for path in against]


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """The findings of each severity and kind, the most frequent reason first."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return [sorted(group, key=lambda finding: -finding.count) for group in groups.values()]


class _Names:
    """How places are written: without the file where there is one only, else with as little of its path as tells.

    Args:
        report: The findings.
        say: Says a phrase in the language of the terminal.
    """

    def __init__(self, report: CheckReport, say: Callable[[str], str]) -> None:
        self.say = say
        others = (other.rpartition(":")[0] for finding in report.findings for other in finding.others)
        files = list(dict.fromkeys([*(finding.file for finding in report.findings), *others]))
        self._labels = dict(zip(files, labels(files), strict=True))
        # The longest first: one path may be a part of another.
        self._paths = sorted(files, key=len, reverse=True)

    def place(self, file: str, row: int | str, line: int | None = None) -> str:
        """Where a row stands."""
        alone = len(self._labels) == 1
        where = self.say(Phrase("row {row}", row=row)) if alone else f"{self._labels[file]}:{row}"
        return where + (self.say(Phrase(" (line {line})", line=line)) if line is not None and line != row else "")

    def places(self, finding: Finding, num: int) -> str:
        """Where the first rows of a finding stand, and the rows that they relate to."""
        found = []
        for at, row in enumerate(finding.rows[:num]):
            place = self.place(finding.file, row, finding.line if at == 0 else None)
            if finding.others:
                file, _, other = finding.others[at].rpartition(":")
                same = self.say(Phrase("row {row}", row=other))
                place += f" = {same if file == finding.file else self.place(file, other)}"
            found.append(place)
        return ", ".join(found)

    def reason(self, finding: Finding) -> str:
        """What is wrong, with the short names of files."""
        reason = finding.reason
        for path in self._paths:
            reason = reason.replace(path, self._labels[path])
        return self.say(reason)


def _described(group: Sequence[Finding], names: _Names) -> Text:
    """The most frequent reasons, and one example."""
    counts: Counter[str] = Counter()
    for finding in group:
        counts[names.reason(finding)] += finding.count
    reasons = [f"{reason} ({count:,})" if len(counts) > 1 else reason for reason, count in counts.most_common(3)]
    if len(counts) > len(reasons):
        reasons.append(names.say(Phrase("{rest:,} more (--verbose)", rest=len(counts) - len(reasons))))
    text = Text("; ".join(reasons))
    return text.append("\n").append(_example(group[0], names, 1))


def _every_reason(group: Sequence[Finding], names: _Names) -> Text:
    text = Text()
    for finding in group:
        text.append(f"{names.reason(finding)} ({finding.count:,})\n")
        text.append(_example(finding, names, _NUM_REASONS)).append("\n")
    text.rstrip()
    return text


def _example(finding: Finding, names: _Names, num: int) -> Text:
    text = Text(names.places(finding, num), "cyan")
    if finding.kind in ("leak", "near_leak"):
        text.append(names.say(Phrase("; it has {count:,} such rows", count=finding.num_others)), "none")
    elif finding.example:
        text.append(f": {finding.example}", "dim")
    return text


def print_cleaning(summary: CleanSummary, console: Console) -> None:
    """Print what cleaning did: rows before and after, what was mended, what was rejected.

    Args:
        summary: What was done.
        console: Where to.
    """
    sizes = (
        ("rows", summary.rows_before, summary.rows_after),
        ("characters", summary.characters_before, summary.characters_after),
    )
    rows = [(Text(name, "bold"), before, after, f"{after - before:+,}") for name, before, after in sizes]
    console.print(table(("", "before", "after", "difference"), rows))
    for note in summary.notes:
        console.print(Text(note), soft_wrap=True)
    console.print()
    details = [
        (name, count, f"{kind}: {KINDS[kind].meaning}")
        for name, counts in (("mended", summary.changed), ("rejected", summary.rejected))
        for kind, count in counts.items()
    ]
    details += [
        ("unfilled", count, f"{{{{{name}}}}} has no value: --set {name}=VALUE")
        for name, count in summary.unfilled.items()
    ]
    console.print(facts(details) if details else Text("Nothing was changed.", "green"))
