"""Where answers fall short, with the best prompt and after the training."""

from __future__ import annotations

from typing import Any

from weitiao.report.charts.marks import share_bar
from weitiao.report.files import RunFiles, Values
from weitiao.report.sections.common import Section, missing
from weitiao.text.wording import Wording

_MOST_GROUPS = 12


def gap_section(files: RunFiles, words: Wording) -> Section:
    """Kinds of errors, fields of JSON answers and weak groups, before and after.

    Args:
        files: Of the run.
        words: Of the report.
    """
    before, after = files.get("gap.json"), files.get("gap-tuned.json")
    if before is None:
        return {"missing": missing(files, words, "baseline", "gap.json")}
    gaps = [before] if after is None else [before, after]
    errors = _beside(gaps, "errors", "kind")
    groups = [pair for pair in _beside(gaps, "groups", "dimension", "name", "value").values() if pair[0]]
    weak = [pair for pair in groups if any(one and one["weak"] for one in pair)]
    return {
        "missing": None,
        "missing_after": missing(files, words, "compare", "gap-tuned.json") if after is None else None,
        "before": before,
        "after": after,
        "errors": [_error(kind, pair, gaps, words) for (kind,), pair in errors.items()],
        "fields": [(name, pair) for (name,), pair in _beside(gaps, "fields", "field").items()],
        "groups": sorted(weak, key=lambda pair: pair[0]["difference"])[:_MOST_GROUPS],
        "num_tested": words.count(sum(group["p_value"] is not None for group in before["groups"])),
    }


def _beside(gaps: list[Values], what: str, *names: str) -> dict[tuple[str, ...], list[Any]]:
    """The entries of a list in each gap, under what names them, None where one has no such entry; the first's first."""
    found = [{tuple(one[name] for name in names): one for one in gap[what]} for gap in gaps]
    return {key: [entries.get(key) for entries in found] for key in dict.fromkeys(key for one in found for key in one)}


def _error(kind: str, pair: list[Any], gaps: list[Values], words: Wording) -> Section:
    counts = [one["count"] if one else 0 for one in pair]
    shares = [count / gap["score"]["n"] for count, gap in zip(counts, gaps, strict=True)]
    return {
        "kind": kind,
        "counts": counts,
        "bars": [
            share_bar([(share, tone)], title=f"{words(f'error.{kind}')}: {words.share(share)}")
            for share, tone in zip(shares, ("base", "tuned"), strict=False)
        ],
        "remedies": next(one for one in pair if one)["remedies"],
    }
