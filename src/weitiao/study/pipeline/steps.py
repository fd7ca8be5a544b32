"""The steps of `weitiao run`, in order: what each depends on, and what it leaves."""

from __future__ import annotations

from weitiao.study.pipeline import actions
from weitiao.study.pipeline.forecast import as_baseline, as_quick, as_retention_before
from weitiao.study.pipeline.step import Step

_MODEL = ("model", "rendering")
_GRADED = ("packages.model", "packages.metrics")
# The weights that a training has left are what is measured and shipped: a newer package does not make them others.

STEPS: tuple[Step, ...] = (
    Step(
        name="check",
        version=1,
        reads=("data.train", "data.validation", "data.test", "packages.check", *_MODEL),
        needs=(),
        uses=(),
        writes=("data-check.json",),
        action=actions.check,
    ),
    Step(
        name="baseline",
        version=1,
        reads=(
            "data.train", "data.test", "baseline", "evaluate", "verdict.target", "packages.examples", *_GRADED, *_MODEL,
        ),
        needs=(),
        uses=(),
        writes=("baseline.json", "gap.json", "predictions-baseline-*.jsonl"),
        action=actions.baseline,
        resumes=True,
    ),
    Step(
        name="retention-before",
        version=1,
        reads=("retention", "packages.model", *_MODEL),
        needs=(),
        uses=(),
        writes=("retention-before.json",),
        action=actions.retention_before,
    ),
    Step(
        name="train",
        version=1,
        reads=("data.train", "data.validation", "method", "objective", "train", *_MODEL),
        needs=(),
        uses=(),
        writes=("final", "metrics.jsonl"),
        action=actions.train,
        resumes=True,
    ),
    Step(
        name="eval",
        version=1,
        reads=("data.validation", "data.test", "evaluate", *_GRADED, *_MODEL),
        needs=("train",),
        uses=(),
        writes=("scores.json", "predictions.jsonl", "predictions.key.json"),
        action=actions.evaluate,
        forecast=as_baseline,
    ),
    Step(
        name="retention-after",
        version=1,
        reads=("retention", "packages.model", *_MODEL),
        needs=("retention-before", "train"),
        uses=(),
        writes=("retention-after.json",),
        action=actions.retention_after,
        forecast=as_retention_before,
    ),
    Step(
        name="compare",
        version=2,
        reads=("verdict", "data.train"),
        needs=("baseline", "eval"),
        uses=("retention-before", "retention-after"),
        writes=("comparison.json", "gap-tuned.json"),
        action=actions.compare,
        forecast=as_quick,
    ),
    Step(
        name="verdict",
        version=1,
        reads=("verdict",),
        needs=("compare",),
        uses=(),
        writes=("verdict.json",),
        action=actions.verdict,
        forecast=as_quick,
    ),
    Step(
        name="report",
        version=1,
        reads=("*",),
        needs=(),
        uses=(
            "check", "baseline", "retention-before", "train", "eval", "retention-after", "compare", "verdict",
        ),
        writes=("report.html",),
        action=actions.report,
        forecast=as_quick,
    ),
)  # fmt: skip
STEP_NAMES = tuple(step.name for step in STEPS)
