"""What was exported: a row for each model, with what it needs, what it lost and whether it is still good."""

from __future__ import annotations

from weitiao.records import record_of
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section
from weitiao.text.wording import Wording, signed
from weitiao.verdict.exported import Exported, Exports

_TONES = {"good": "good", "worse": "bad", "refused": "bad", "undecided": "open"}


def export_section(files: RunFiles, words: Wording) -> Section:
    """A table; without rows where nothing was exported.

    Args:
        files: Of the run.
        words: Of the report.
    """
    values = files.get("exports.json")
    if values is None:
        return {"rows": []}
    exports = record_of(Exports, values)
    metric = next((one.metric for one in exports.models if one.metric), "")
    first = next((one for one in exports.models if one.nats is not None or one.quality is not None), None)
    tuned = {**_costs(exports.tuned, words), "format": words("export.tuned"), "score": _score(first, words, 0)}
    rows = [{**tuned, "change": "", "nats": "", "outcome": "", "tone": "", "reason": ""}]
    rows += [
        {
            **_costs(one, words),
            "format": one.format,
            "score": _score(one, words, 1),
            "change": _change(one, words),
            "nats": "" if one.agreement is None else words.loss(one.agreement.mean_difference),
            "outcome": words(f"export.{one.outcome}"),
            "tone": _TONES[one.outcome],
            "reason": one.reason,
        }
        for one in exports.models
    ]
    lead = words("export.lead", rows=words.count(exports.num_rows), loss=words.loss(exports.largest_loss))
    return {"rows": rows, "lead": lead, "metric": metric or words("export.perplexity")}


def _costs(one: Exported, words: Wording) -> Section:
    asked = one.memory_bytes > 0
    return {
        "size": words.size(one.size_bytes) if one.size_bytes else "",
        "memory": words.size(one.memory_bytes) if asked else "",
        "speed": f"{one.tokens_per_second:.0f}" if asked else "",
    }


def _score(one: Exported | None, words: Wording, side: int) -> str:
    """Before (0) or after (1)."""
    if one is not None and one.quality is not None:
        return words.share((one.quality.before, one.quality.after)[side])
    return "" if one is None or one.perplexity is None else words.loss(one.perplexity[side])


def _change(one: Exported, words: Wording) -> str:
    if one.quality is not None:
        gain = one.quality.difference
        return f"{words.points(gain.value)} ({signed(100 * gain.low, 1)} – {signed(100 * gain.high, 1)})"
    return "" if one.nats is None else words.nats(one.nats.difference.value, with_sign=True)
