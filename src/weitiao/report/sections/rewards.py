"""How well rewards tell the better of two held-out answers, how sure they are, and what length has to do with it."""

from __future__ import annotations

from weitiao.evaluation.reward_scores import Comparisons
from weitiao.records import record_of
from weitiao.report.charts.drawings import reliability
from weitiao.report.charts.svg import Scale
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section, axis_of, plot_of, row
from weitiao.text.wording import Wording


def rewards_of(files: RunFiles, words: Wording) -> Section | None:
    """Shares with their intervals, a reliability curve and figures; None where no pairs were scored.

    Args:
        files: Of the run.
        words: Of the report.
    """
    details = (files.get("scores.json") or {"details": {}})["details"].values()
    values = next((one for one in details if "reliability" in one), None)
    if values is None:
        return None
    found, scale = record_of(Comparisons, values), Scale(0.0, 1.0)
    shares = (
        (words("metric.preference_accuracy"), "accuracy", found.accuracy, True),
        (words("metric.longer_is_better"), "rule", found.longer, False),
        (words("rewards.longer"), "longer", found.length_agreement, False),
    )
    error, correlation = words.share(found.calibration_error), found.length_correlation
    title = words("rewards.reliability", error=error)
    points = [(one.confidence, one.accuracy.value, one.accuracy.low, one.accuracy.high) for one in found.reliability]
    return {
        "rows": [
            row(name, words(f"rewards.{detail}.detail"), one, "share", scale, words,
                tone="tuned" if strong else "base", strong=strong, border=0.5)
            for name, detail, one, strong in shares
        ],
        "axis": axis_of(scale, "share"),
        "reliability": {"title": title, **plot_of(reliability(points, title=title), words.share, words.share)},
        "facts": [
            (words("rewards.margin"), f"{found.margin:.3g}"),
            (words("rewards.calibration"), error),
            (words("rewards.correlation"), words("rewards.constant") if correlation is None else f"{correlation:+.2f}"),
        ],
    }  # fmt: skip
