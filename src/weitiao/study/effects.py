"""What each step of `weitiao run` depends on, and so what is done again when a setting changes. Without PyTorch."""

from __future__ import annotations

CHANGEABLE = (
    "run_dir", "train.token_budget", "train.save_every", "train.keep_checkpoints", "train.trackers", "train.threads",
    "train.checkpointing", "train.offload_activations", "method.keep_states",
)  # fmt: skip
"""Settings that change nothing but what a run costs and where it lies."""

_MODEL = ("model", "rendering")
_GRADED = ("packages.model", "packages.metrics")
# The weights that a training has left are what is measured and shipped: a newer package does not make them others.

READS: dict[str, tuple[str, ...]] = {
    "check": ("data.train", "data.validation", "data.test", "packages.check", *_MODEL),
    "baseline": (
        "data.train", "data.test", "baseline", "evaluate", "verdict.target", "packages.examples", *_GRADED, *_MODEL,
    ),
    "retention-before": ("retention", "packages.model", *_MODEL),
    "train": ("data.train", "data.validation", "method", "objective", "optimizer", "train", *_MODEL),
    "eval": ("data.validation", "data.test", "evaluate", *_GRADED, *_MODEL),
    "retention-after": ("retention", "packages.model", *_MODEL),
    "compare": ("verdict", "data.train"),
    "verdict": ("verdict",),
    "export": ("export", "data.test", "evaluate", *_GRADED, *_MODEL),
    "report": ("*",),
}  # fmt: skip
"""Step to what it depends on: a section of the recipe, a setting, `data.PART` (files that it names count by their
content), or `packages.KIND` (versions of what is installed). The steps stand in their order."""


def first_step(name: str) -> str | None:
    """The first step that is done again, with those that follow from it, when a setting changes.

    Args:
        name: Of the setting, dotted.

    Returns:
        The step; None for what changes no result.
    """
    section = name.partition(".")[0]
    if name in (*CHANGEABLE, "retention.token_budget"):
        return None
    if section in ("rollouts", "feedback"):  # what is learned from
        return "train"
    for step, reads in READS.items():
        if section in reads or name in reads or (section == "data" and any(one.startswith("data.") for one in reads)):
            return step
    return None
