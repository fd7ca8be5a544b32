"""An inspection as tables and histograms for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from weitiao.data.reading.paths import labels
from weitiao.quality.inspection import Inspection, Lengths, PartInspection
from weitiao.terminal.tables import facts, table

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR_WIDTH = 40
_LEAST_BAR = 8
_NUM_LABELS = 8
_LONGEST_NAME = 40


def print_inspection(inspection: Inspection, console: Console) -> None:
    """Print each part: its numbers, a histogram of lengths, labels, the longest and shortest rows.

    Args:
        inspection: What is in the data.
        console: Where to.
    """
    for reason in inspection.left_out.values():
        console.print(Text(f"Languages: {reason}", "yellow"), soft_wrap=True)
    for part in inspection.parts:
        console.print(Text(part.name, "bold underline"))
        _print_numbers(part, inspection.unit, console)
        if part.lengths is not None:
            console.print()
            _print_histogram(part.lengths, inspection.unit, console)
        if part.labels:
            console.print()
            _print_labels(part.labels, console)
        if part.longest_rows:
            console.print()
            _print_extremes(part, inspection.unit, console)
        console.print()


def bar(share: float, width: int = _BAR_WIDTH) -> str:
    """A bar of block characters, to an eighth of a character; what is not zero is seen."""
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _bar_width(console: Console, *, beside: int) -> int:
    """How long bars may be beside text of some width."""
    return max(_LEAST_BAR, min(_BAR_WIDTH, console.width - beside))


def _print_numbers(part: PartInspection, unit: str, console: Console) -> None:
    unusable = f", {part.unusable:,} cannot be used (weitiao data check says why)" if part.unusable else ""
    rows = [*(("source", source) for source in part.sources), ("rows", f"{part.rows:,}{unusable}")]
    if turns := {str(count): rows for count, rows in part.turns.items() if count}:
        rows.append(("turns", _listed(turns)))
    if part.lengths is not None:
        rows.append((unit, _quantiles(part.lengths)))
    if part.answer_lengths is not None:
        rows.append(("trained on", f"{_quantiles(part.answer_lengths)}; {part.supervised_share:.1%} of all"))
    rows.append(("languages", f"inputs: {_listed(part.input_languages)}"))
    if set(part.answer_languages) - {""}:
        rows.append(("", f"answers: {_listed(part.answer_languages)}"))
    console.print(facts(rows))


def _quantiles(lengths: Lengths) -> str:
    return (
        f"mean {lengths.mean:,.0f}, median {lengths.median:,}, 90 % up to {lengths.p90:,}, 99 % up to "
        f"{lengths.p99:,}, from {lengths.shortest:,} to {lengths.longest:,}"
    )


def _listed(counts: Mapping[str, int], limit: int = 8) -> str:
    total = sum(counts.values())
    items = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name or 'none'} {count:,} ({count / total:.1%})" for name, count in items[:limit]]
    return ", ".join([*shown, *([f"{len(items) - limit} more"] if len(items) > limit else [])])


def _print_histogram(lengths: Lengths, unit: str, console: Console) -> None:
    edges, counts = lengths.histogram.edges, lengths.histogram.counts
    most = max(counts)
    width = _bar_width(console, beside=max(2 * len(f"{edges[-1]:,}"), len(unit) + 8) + len(f"{most:,}") + 7)
    rows = [
        (f"{start:,}-{end - 1:,}", count, Text(bar(count / most, width), "cyan"))
        for start, end, count in zip(edges, edges[1:], counts, strict=False)
    ]
    console.print(table((f"{unit} per row", "rows", ""), rows, words=(2,)))


def _print_labels(labels: Mapping[str, int], console: Console) -> None:
    names = list(labels)
    most, least = labels[names[0]], labels[names[-1]]
    console.print(Text(f"{len(labels):,} labels, {least:,} to {most:,} rows each", "bold"))
    half = _NUM_LABELS // 2
    width = _bar_width(console, beside=min(_LONGEST_NAME, max(map(len, names))) + len(f"{most:,}") + 6)
    shown = names if len(names) <= _NUM_LABELS else [*names[:half], "", *names[-half:]]
    rows = [
        (name, labels[name], Text(bar(labels[name] / most, width), "cyan"))
        if name
        else (Text(f"... {len(names) - 2 * half:,} more ...", "dim"), "", "")
        for name in shown
    ]
    console.print(table(("", "", ""), rows, words=(0, 2), show_header=False))


def _print_extremes(part: PartInspection, unit: str, console: Console) -> None:
    rows = (*part.longest_rows, *part.shortest_rows)
    files = list(dict.fromkeys(row.file for row in rows))
    names = dict(zip(files, labels(files), strict=True))
    console.print(Text("Longest and shortest rows", "bold"))
    cells = []
    for row in rows:
        place = f"{row.row:,}" if len(files) == 1 else f"{names[row.file]}:{row.row}"
        cells.append((Text(place, "cyan"), row.length, Text(row.text, "dim", no_wrap=True, overflow="ellipsis")))
    console.print(table(("row", unit, "input"), cells, words=(0, 2)))
