"""What the data check found and what is in the data; what a run took, and how to get the same again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from weitiao.console import quoted
from weitiao.data.reading.paths import labels
from weitiao.methods.note import read_note
from weitiao.report.charts.drawings import histogram, share_bar
from weitiao.report.files import RunFiles, Values
from weitiao.report.sections.common import Section, missing
from weitiao.runs.run_dir import RunDir
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
        "kinds": _kinds(findings, words),
        "left_out": {kind: words.phrase(reason) for kind, reason in check["left_out"].items()},
        "parts": [_part(part, unit, words) for part in inspection["parts"]],
    }


def _short_names(findings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """File to a name that tells it apart from the others, the longest path first."""
    files = {finding["file"] for finding in findings}
    files |= {other.rpartition(":")[0] for finding in findings for other in finding.get("others") or []}
    ordered = sorted(files, key=lambda file: (-len(file), file))
    return dict(zip(ordered, labels(ordered), strict=True))


def _kinds(findings: Sequence[Mapping[str, Any]], words: Wording) -> list[Section]:
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
                "reasons": [_reason(finding, names, words) for finding in ordered[:_MOST_REASONS]],
                "num_more": len(group) - _MOST_REASONS,
            }
        )
    return kinds


def _num_rows(findings: Sequence[Mapping[str, Any]]) -> int:
    """How many rows have one of some findings: each counts once, as far as they are listed."""
    rows = {(finding["file"], row) for finding in findings for row in finding["rows"]}
    return len(rows) + sum(int(finding["count"]) - len(finding["rows"]) for finding in findings)


def _reason(finding: Mapping[str, Any], names: Mapping[str, str], words: Wording) -> Section:
    """A finding with short names for the files in its reason and its place."""
    row = f":{finding['row']}" if finding["row"] else ""
    others = finding.get("others") or []
    text, place = finding["reason"], f"{finding['file']}{row}" + (f" = {others[0]}" if others else "")
    for file, name in names.items():
        text, place = text.replace(file, name), place.replace(file, name)
    return {**finding, "text": words.phrase(text), "place": place}


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


def reproduce_section(files: RunFiles, words: Wording) -> Section:
    """Commands, machine, versions, recipe and the hashes of what went in and came out.

    Args:
        files: Of the run.
        words: Of the report.
    """
    return {
        "commands": _commands(files),
        "recipe": files.recipe,
        **environment_facts(files.get("environment.json"), words),
        "hashes": _hashes(files, words),
        "missing": missing(files, words, "train", "environment.json"),
    }


def _commands(files: RunFiles) -> list[str]:
    skipped = "".join(f" --skip {name}" for name in files.records.skipped)
    return [
        f"weitiao run {quoted(files.path / 'recipe.yaml')} run_dir=runs/again{skipped}",
        f"weitiao report {quoted(files.path)}",
    ]


def environment_facts(environment: Values | None, words: Wording) -> Section:
    """The machine that a run was made on (`facts`), and what with (`versions`): names and values; none if unknown."""
    if environment is None:
        return {"facts": [], "versions": []}
    versions = [("python", environment["python"]), *environment["versions"].items()]
    return {"facts": _machine(environment, words), "versions": versions}


def _machine(environment: Values, words: Wording) -> list[tuple[str, str]]:
    hardware = environment["hardware"]
    gpus = words("list.comma").join(gpu["name"] for gpu in hardware["gpus"])
    cpu = words("reproduce.cpu.value", name=hardware["cpu_name"], threads=environment["threads"])
    facts = [
        (words("reproduce.cpu"), cpu),
        (words("reproduce.memory"), words.size(hardware["memory_bytes"])),
        (words("reproduce.system"), environment["platform"]),
    ]
    return [*facts, (words("reproduce.gpu"), gpus)] if gpus else facts


def _hashes(files: RunFiles, words: Wording) -> list[tuple[str, str]]:
    """The base model, the training data as the model saw it, the retention suite, and the outputs of every step."""
    run = RunDir(files.path)
    found = []
    if note := read_note(run.final):
        found.append((words("reproduce.hash.model"), note.fingerprint))
    if checkpoints := run.complete_checkpoints():
        state = json.loads((checkpoints[-1] / "state.json").read_text(encoding="utf-8"))
        found.append((words("reproduce.hash.data"), state["data_fingerprint"]))
    if retention := files.get("retention-before.json"):
        found.append((words("reproduce.hash.retention"), retention["fingerprint"]))
    for name, record in files.records.steps.items():
        if files.records.is_current(name):
            found += [(output, digest) for output, digest in record.outputs.items() if output != "report.html"]
    return found


STEP_ORDER = (
    "check", "baseline", "retention-before", "train", "eval", "retention-after", "compare", "verdict", "export",
)  # fmt: skip


def costs_section(files: RunFiles, words: Wording) -> Section:
    """A row per step with what became of it, its time and its memory.

    Args:
        files: Of the run.
        words: Of the report.
    """
    done = files.records.steps
    if not done:
        return {"rows": [], "missing_command": f"weitiao run {quoted(files.path)}"}
    total = sum(done[name].seconds for name in STEP_ORDER if name in done)
    rows: list[Section] = []
    for name in STEP_ORDER:
        if name == "export" and name not in done:  # only few runs have it
            continue
        rows.append({"step": name, "state": files.state(name), "record": None})
        if name in done and name not in files.records.skipped:
            share = done[name].seconds / total if total else 0.0
            title = f"{words(f'step.{name}')}: {words.duration(done[name].seconds)}, {share:.0%}"
            rows[-1] |= {"record": done[name], "bar": share_bar([(share, "tuned")], title=title)}
    return {"rows": rows, "seconds": total, "memory": max(record.peak_memory_bytes for record in done.values())}
