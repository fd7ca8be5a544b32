"""What a model learned from its own answers: single answers with their rewards."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section
from weitiao.rollouts.samples import Sample, read_rollout, rollouts_in
from weitiao.text.wording import Wording

_FEW = 3


def rollouts_of(files: RunFiles, words: Wording) -> Section | None:
    """Samples; None for a training on the rows' own answers.

    Args:
        files: Of the run.
        words: Of the report.
    """
    paths = rollouts_in(files.path / "rollouts")
    if not paths:
        return None
    first, last = (read_rollout(path).used for path in (paths[0], paths[-1]))
    best = sorted(last, key=lambda one: one.reward or 0.0, reverse=True)
    groups = {
        "best": [_shown(one) for one in best[:_FEW]],
        "worst": [_shown(one) for one in best[::-1][:_FEW]],
        "changed": _changed(first, last),
    }
    return {
        "groups": [(name, rows) for name, rows in groups.items() if rows],
        "said": words("rollouts.said", first=words.count(1), last=words.count(len(paths))),
    }


def _shown(one: Sample, before: Sample | None = None) -> Section:
    reward = f"{one.reward:.3g}" if before is None else f"{before.reward:.3g} → {one.reward:.3g}"
    return {"row_id": one.row_id, "reward": reward, "before": before and before.answer, "after": one.answer}


def _changed(first: Sequence[Sample], last: Sequence[Sample]) -> list[Section]:
    """For the rows that both asked, those whose mean reward changed most: a middling answer of then and of now."""
    found = []
    for row_id in dict.fromkeys(one.row_id for one in last):
        then, now = ([one for one in some if one.row_id == row_id] for some in (first, last))
        if then:
            change = abs(fmean(one.reward or 0.0 for one in now) - fmean(one.reward or 0.0 for one in then))
            found.append((change, _shown(_middle(now), _middle(then))))
    return [shown for _, shown in sorted(found, key=lambda pair: -pair[0])[:_FEW]]


def _middle(samples: Sequence[Sample]) -> Sample:
    return sorted(samples, key=lambda one: one.reward or 0.0)[len(samples) // 2]
