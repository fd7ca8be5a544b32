"""What the data check found, and what is in the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from weitiao.data.reading.paths import labels
from weitiao.report.charts.marks import histogram, share_bar
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section, missing
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
    if check is None:
        return {"missing": missing(files, words, "check", "data-check.json")}
    findings, inspection = check["findings"], check["inspection"]
    rows_of = {name: _num_rows([one for one in findings if one["severity"] == name]) for name in _TONES}
    counts = {name: words.count(number) for name, number in {"rows": check["rows"], **rows_of}.items()}
    unit = words(f"data.{inspection['unit']}")
    return {
        "missing": None,
        "lead": words("data.lead", **counts),
        "kinds": _kinds(findings),
        "left_out": check["left_out"],
        "parts": [_part(part, unit, words) for part in inspection["parts"]],
    }


def _short_names(findings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """File to a name that tells it apart from the others, the longest path first."""
    files = {finding["file"] for finding in findings}
    files |= {other.rpartition(":")[0] for finding in findings for other in finding.get("others") or []}
    ordered = sorted(files, key=lambda file: (-len(file), file))
    return dict(zip(ordered, labels(ordered), strict=True))


def _kinds(findings: Sequence[Mapping[str, Any]]) -> list[Section]:
    """One entry per severity and kind, with its most frequent reasons."""
    names = _short_names(findings)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault((finding["severity"], finding["kind"]), []).append(finding)
    kinds = []
    for (severity, kind), group in groups.items():
        ordered = sorted(group, key=lambda finding: -finding["count"])
        kinds.append(
            {
                "severity": severity,
                "tone": _TONES[severity],
                "kind": kind,
                "num_rows": _num_rows(group),
                "reasons": [_reason(finding, names) for finding in ordered[:_MOST_REASONS]],
                "num_more": len(group) - _MOST_REASONS,
            }
        )
    return kinds


def _num_rows(findings: Sequence[Mapping[str, Any]]) -> int:
    """How many rows have one of some findings: each counts once, as far as they are listed."""
    rows = {(finding["file"], row) for finding in findings for row in finding["rows"]}
    return len(rows) + sum(int(finding["count"]) - len(finding["rows"]) for finding in findings)


def _reason(finding: Mapping[str, Any], names: Mapping[str, str]) -> Section:
    """A finding with short names for the files in its reason and its place."""
    row = f":{finding['row']}" if finding["row"] else ""
    others = finding.get("others") or []
    text, place = finding["reason"], f"{finding['file']}{row}" + (f" = {others[0]}" if others else "")
    for file, name in names.items():
        text, place = text.replace(file, name), place.replace(file, name)
    return {**finding, "text": text, "place": place}


def _part(part: Mapping[str, Any], unit: str, words: Wording) -> Section:
    facts = [(words("data.rows"), words.count(part["rows"]))]
    if part["unusable"]:
        facts.append((words("data.unusable"), words.count(part["unusable"])))
    facts.append((words("data.supervised"), words.share(part["supervised_share"])))
    for side in ("input", "answer"):
        if languages := part[f"{side}_languages"]:
            facts.append((words(f"data.languages.{side}"), _languages(languages, words)))
    return {
        "name": part["name"],
        "facts": facts,
        "histograms": [
            _lengths(words(f"data.{name}", unit=unit), part[name], words)
            for name in ("lengths", "answer_lengths") if part[name] is not None
        ],
        "labels": _labels(part["labels"]),
        "num_labels": len(part["labels"]),
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
    quantiles = {name: words.count(lengths[name]) for name in ("shortest", "median", "p90", "p99", "longest")}
    facts = words("data.quantiles", **quantiles)
    every = max(1, len(counts) // 4)
    ticks = [(f"{100 * place / len(counts):.2f}%", f"{edges[place]:,}") for place in range(0, len(counts), every)]
    drawing = histogram(counts, names, title=f"{title}: {facts}")
    return {"title": title, "drawing": drawing, "axis": ticks, "facts": facts}


def _labels(labels: Mapping[str, int]) -> list[Section]:
    """The most frequent and the rarest labels; none for answers that are no labels."""
    ordered = shown = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) > _MOST_LABELS:
        half = _MOST_LABELS // 2
        shown = [*ordered[: _MOST_LABELS - half], *ordered[-half:]]
    most = ordered[0][1] if ordered else 1
    return [
        {"name": name, "count": count, "bar": share_bar([(count / most, "tuned")], title=f"{name}: {count:,}")}
        for name, count in shown
    ]
