"""What the data check found, and what is in the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from weitiao.data.reading.paths import labels
from weitiao.report.charts.marks import histogram, share_bar
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Axis, Section, missing, shortened
from weitiao.text.wording import Wording

_TONES = {"error": "bad", "warning": "open", "info": ""}
_MOST_REASONS = 4
_MOST_LABELS = 15
_MOST_LANGUAGES = 6


def data_section(files: RunFiles, words: Wording) -> Section:
    """Findings by kind, the most severe first; lengths, languages and labels of every part.

    Args:
        files: Of the run.
        words: Of the report.
    """
    check = files.get("data-check.json")
    section: Section = {"missing": missing(files, words, "check", "data-check.json")}
    if check is None:
        return section
    numbers = {
        severity: _num_rows([one for one in check["findings"] if one["severity"] == severity]) for severity in _TONES
    }
    counts = {name: words.count(number) for name, number in numbers.items()}
    inspection, names = check["inspection"], _short_names(check["findings"])
    unit = words(f"data.{inspection['unit']}")
    return section | {
        "lead": words("data.lead", rows=words.count(check["rows"]), **counts),
        "kinds": _kinds(check["findings"], names, words),
        "left_out": [
            words("data.left_out", kind=_kind_name(kind, words), reason=reason)
            for kind, reason in check["left_out"].items()
        ],
        "parts": [_part(part, unit, words) for part in inspection["parts"]],
    }


def _short_names(findings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """File to a name that tells it apart from the others, the longest path first."""
    files = {finding["file"] for finding in findings}
    files |= {other.rpartition(":")[0] for finding in findings for other in finding.get("others") or []}
    ordered = sorted(files, key=lambda file: (-len(file), file))
    return dict(zip(ordered, labels(ordered), strict=True))


def _kinds(findings: Sequence[Mapping[str, Any]], names: Mapping[str, str], words: Wording) -> list[Section]:
    """One entry per severity and kind, with its most frequent reasons."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault((finding["severity"], finding["kind"]), []).append(finding)
    kinds = []
    for (severity, kind), group in groups.items():
        ordered = sorted(group, key=lambda finding: -finding["count"])
        kinds.append(
            {
                "severity": words(f"severity.{severity}"),
                "tone": _TONES[severity],
                "name": _kind_name(kind, words),
                "remedy": words(f"finding.{kind}.remedy"),
                "count": words.count(_num_rows(group)),
                "reasons": [_reason(finding, names, words) for finding in ordered[:_MOST_REASONS]],
                "more": words.count(len(group) - _MOST_REASONS) if len(group) > _MOST_REASONS else "",
            }
        )
    return kinds


def _num_rows(findings: Sequence[Mapping[str, Any]]) -> int:
    """How many rows have one of some findings: each counts once, as far as they are listed."""
    rows = {(finding["file"], row) for finding in findings for row in finding["rows"]}
    return len(rows) + sum(int(finding["count"]) - len(finding["rows"]) for finding in findings)


def _reason(finding: Mapping[str, Any], names: Mapping[str, str], words: Wording) -> Section:
    row = f":{finding['row']}" if finding["row"] else ""
    others = finding.get("others") or []
    text, place = finding["reason"], f"{finding['file']}{row}" + (f" = {others[0]}" if others else "")
    for file, name in names.items():
        text, place = text.replace(file, name), place.replace(file, name)
    return {
        "text": text,
        "count": words.count(finding["count"]),
        "place": place,
        "example": finding["example"],
    }


def _kind_name(kind: str, words: Wording) -> str:
    return words(f"finding.{kind}")


def _part(part: Mapping[str, Any], unit: str, words: Wording) -> Section:
    facts = [(words("data.rows"), words.count(part["rows"]))]
    if part["unusable"]:
        facts.append((words("data.unusable"), words.count(part["unusable"])))
    facts.append((words("data.supervised"), words.share(part["supervised_share"])))
    for side in ("input", "answer"):
        if languages := part[f"{side}_languages"]:
            facts.append((words(f"data.languages.{side}"), _languages(languages, words)))
    return {
        "name": words(f"part.{part['name']}"),
        "facts": facts,
        "histograms": [
            _lengths(words(f"data.{name}", unit=unit), part[name], words)
            for name in ("lengths", "answer_lengths") if part[name] is not None
        ],
        "labels": _labels(part["labels"], words),
    }  # fmt: skip


def _languages(languages: Mapping[str, int], words: Wording) -> str:
    total = sum(languages.values())
    ordered = sorted(languages.items(), key=lambda item: -item[1])[:_MOST_LANGUAGES]
    names = [f"{name or words('data.languages.none')} {words.share(count / total)}" for name, count in ordered]
    return words("list.comma").join(names)


def _lengths(title: str, lengths: Mapping[str, Any], words: Wording) -> Section:
    """The histogram and, under it, where its bars begin: all are equally wide, and the last one holds the longest."""
    edges, counts = lengths["histogram"]["edges"], lengths["histogram"]["counts"]
    names = [f"{low:,}–{high - 1:,}" for low, high in pairwise(edges)]
    facts = words(
        "data.quantiles",
        **{name: words.count(lengths[name]) for name in ("shortest", "median", "p90", "p99", "longest")},
    )
    every = max(1, len(counts) // 4)
    ticks = [(f"{100 * place / len(counts):.2f}%", f"{edges[place]:,}") for place in range(0, len(counts), every)]
    return {
        "title": title,
        "drawing": histogram(counts, names, title=f"{title}: {facts}"),
        "axis": Axis(ticks),
        "facts": facts,
    }


def _labels(labels: Mapping[str, int], words: Wording) -> Section | None:
    """The most frequent and the rarest labels; None for answers that are no labels."""
    if not labels:
        return None
    ordered = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    shown = ordered
    if len(ordered) > _MOST_LABELS:
        half = _MOST_LABELS // 2
        shown = [*ordered[: _MOST_LABELS - half], *ordered[-half:]]
    most = ordered[0][1]
    rows = [
        {
            "name": shortened(name, 60),
            "count": words.count(count),
            "bar": share_bar([(count / most, "tuned")], title=f"{name}: {count:,}"),
        }
        for name, count in shown
    ]
    return {"rows": rows, "note": words("data.labels.note", n=words.count(len(ordered)), shown=words.count(len(shown)))}
