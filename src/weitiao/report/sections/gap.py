"""Where answers fall short, with the best prompt and after the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weitiao.report.charts.marks import share_bar
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section, estimate_of, missing, shortened
from weitiao.text.wording import Wording

_MOST_GROUPS = 12
_LONGEST_NAME = 80


def gap_section(files: RunFiles, words: Wording) -> Section:
    """Kinds of errors, fields of JSON answers and weak groups, before and after.

    Args:
        files: Of the run.
        words: Of the report.
    """
    before, after = files.get("gap.json"), files.get("gap-tuned.json")
    section: Section = {"missing": missing(files, words, "baseline", "gap.json"), "missing_after": None}
    if before is None:
        return section
    if after is None:
        section["missing_after"] = missing(files, words, "compare", "gap-tuned.json")
    section |= {
        "before": _short(before, words),
        "after": None if after is None else _short(after, words),
        "errors": _errors(before, after, words),
        "advice": [(words(f"error.{kind}"), words(f"error.{kind}.advice")) for kind in _kinds(before, after)],
        "fields": _fields(before, after, words),
        "groups": _groups(before, after, words),
        "num_tested": words.count(sum(group["p_value"] is not None for group in before["groups"])),
    }
    return section


def _short(gap: Mapping[str, Any], words: Wording) -> Section:
    share = gap["num_short"] / gap["score"]["n"]
    return {"count": words.count(gap["num_short"]), "share": words.share(share), "n": words.count(gap["score"]["n"])}


def _errors(before: Mapping[str, Any], after: Mapping[str, Any] | None, words: Wording) -> list[Section]:
    """Every kind that there is before or after, the most frequent before first."""
    old = {one["kind"]: one for one in before["errors"]}
    new = {one["kind"]: one for one in after["errors"]} if after else {}
    rows = []
    for kind in _kinds(before, after):
        one = old.get(kind) or new[kind]
        counts = [_count(part.get(kind)) for part in (old, new)]
        shares = [count / gap["score"]["n"] if gap else 0.0 for count, gap in zip(counts, (before, after), strict=True)]
        title = words(f"error.{kind}")
        bars = [share_bar([(shares[0], "base")], title=f"{title}: {words.share(shares[0])}")]
        if after is not None:
            bars.append(share_bar([(shares[1], "tuned")], title=f"{title}: {words.share(shares[1])}"))
        rows.append(
            {
                "title": title,
                "before": words.count(counts[0]),
                "after": None if after is None else words.count(counts[1]),
                "bars": bars,
                "remedies": words("list.comma").join(words(f"remedy.{remedy}") for remedy in one["remedies"]),
            }
        )
    return rows


def _kinds(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> list[str]:
    return list(dict.fromkeys(one["kind"] for gap in (before, after) if gap for one in gap["errors"]))


def _count(error: Mapping[str, Any] | None) -> int:
    return 0 if error is None else int(error["count"])


def _fields(before: Mapping[str, Any], after: Mapping[str, Any] | None, words: Wording) -> list[Section]:
    new = {one["field"]: one["right"] for one in after["fields"]} if after else {}
    old = {one["field"]: one["right"] for one in before["fields"]}
    return [
        {"name": name, "before": _figure(old.get(name), words), "after": _figure(new.get(name), words)}
        for name in dict.fromkeys([*old, *new])
    ]


def _groups(before: Mapping[str, Any], after: Mapping[str, Any] | None, words: Wording) -> list[Section]:
    """Groups that are surely weaker than the rest before or after; the weakest before first."""
    new = {_key(group): group for group in after["groups"]} if after else {}
    weak_after = {key for key, group in new.items() if group["weak"]}
    shown = [group for group in before["groups"] if group["weak"] or _key(group) in weak_after]
    return [_group(group, new.get(_key(group)), words) for group in _first(shown)]


def _first(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(groups, key=lambda group: group["difference"])[:_MOST_GROUPS]


def _group(before: Mapping[str, Any], after: Mapping[str, Any] | None, words: Wording) -> Section:
    dimension = before["dimension"]
    name = words(f"group.{dimension}", name=shortened(before["name"], _LONGEST_NAME))
    return {
        "name": f"{name}: {shortened(before['value'], _LONGEST_NAME)}",
        "n": words.count(before["score"]["n"]),
        "before": _figure(before["score"], words),
        "after": _figure(after["score"] if after else None, words),
        "rest": words.share(before["rest"]),
        "weak_after": bool(after and after["weak"]),
    }


def _key(group: Mapping[str, Any]) -> tuple[str, str, str]:
    return group["dimension"], group["name"], group["value"]


def _figure(score: Mapping[str, Any] | None, words: Wording) -> Section | None:
    if score is None:
        return None
    one = estimate_of(score)
    return {"value": words.share(one.value), "interval": f"{words.share(one.low)}–{words.share(one.high)}"}
