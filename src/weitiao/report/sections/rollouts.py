"""What a model learned from its own answers: single answers with their rewards."""

from __future__ import annotations

from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section
from weitiao.rollouts.samples import Sample, notable, read_rollout, rollouts_in
from weitiao.text.wording import Wording

_FEW = 3


def rollouts_of(files: RunFiles, words: Wording) -> Section | None:
    """Samples; None for a training on the rows' own answers, or without rewards.

    Args:
        files: Of the run.
        words: Of the report.
    """
    paths = rollouts_in(files.path / "rollouts")
    if not paths:
        return None
    first, last = (read_rollout(path).used for path in (paths[0], paths[-1]))
    if not last or not last[0].rewards:
        return None
    return {
        "groups": [
            (name, [_shown(after, before) for before, after in found])
            for name, found in notable(first, last, _FEW).items() if found
        ],
        "said": words("rollouts.said", first=words.count(1), last=words.count(len(paths))),
    }  # fmt: skip


def _shown(one: Sample, before: Sample | None) -> Section:
    reward = f"{one.reward:.3g}" if before is None else f"{before.reward:.3g} → {one.reward:.3g}"
    return {"row_id": one.row_id, "reward": reward, "before": before and before.answer, "after": one.answer}
