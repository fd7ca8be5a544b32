"""What a rollout gave: answers with their rewards and log-probabilities, and the file in the run directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean

from weitiao.files import write_lines
from weitiao.json_text import lines_of


@dataclass(slots=True)
class Sample:
    """An answer that the model wrote, of T tokens.

    Attributes:
        row_id: The row that asked for it.
        group: The number of its prompt in the rollout.
        answer: Its text.
        token_ids: T tokens, the one that ended it included.
        stopped: Whether the model ended it.
        rewards: The score of each part of the reward, before it is weighted.
        reward: The weighted sum; None where a part failed.
        dropped: Why nothing is learned from it; empty for the others.
        columns: T numbers each, by name: the log-probabilities `sampled_logprob` (as the generation had them),
            `old_logprob` (by the training's forward pass) and `reference_logprob`; `advantage`; with `ppo` `old_value`
            and `return`. Those are there that are needed.
    """

    row_id: str
    group: int
    answer: str
    token_ids: tuple[int, ...]
    stopped: bool
    rewards: Mapping[str, float] = field(default_factory=dict)
    reward: float | None = None
    dropped: str = ""
    columns: dict[str, Sequence[float]] = field(default_factory=dict)


@dataclass(slots=True)
class Rollout:
    """The samples of a rollout, and what they cost.

    Attributes:
        samples: Of all prompts, those of a prompt one after the other.
        kl: The coefficient of KL.
        seconds: Of generation, scoring and log-probabilities, by name.
    """

    samples: tuple[Sample, ...]
    kl: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def used(self) -> list[Sample]:
        """Those that are learned from."""
        return [one for one in self.samples if not one.dropped]


def rollout_path(directory: Path, number: int) -> Path:
    """The file of a rollout."""
    return directory / f"rollout-{number:06d}.jsonl"


def write_rollout(path: Path, rollout: Rollout) -> None:
    """Write a rollout in one step: a line with what is said of all, and one for each sample. Numbers keep all bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"kl": rollout.kl, "seconds": rollout.seconds}
    write_lines(path, [head, *({f.name: getattr(one, f.name) for f in fields(Sample)} for one in rollout.samples)])


def read_rollout(path: Path) -> Rollout:
    """Read what `write_rollout` wrote."""
    head, *lines = map(json.loads, lines_of(path))
    samples = (Sample(**line | {"token_ids": tuple(line["token_ids"])}) for line in lines)
    return Rollout(tuple(samples), **head)


def remove_from(directory: Path, number: int) -> None:
    """Remove the rollouts with this number and later ones: they are made again, by the weights that the run has."""
    for path in rollouts_in(directory):
        if int(path.stem.rpartition("-")[2]) >= number:
            path.unlink()


def rollouts_in(directory: Path) -> Sequence[Path]:
    """The files of all rollouts, in their order."""
    return sorted(directory.glob("rollout-*.jsonl"))


def notable(first: Sequence[Sample], last: Sequence[Sample], num: int) -> dict[str, list[tuple[Sample | None, Sample]]]:
    """Of the samples that two rollouts were learned from: the `best` and the `worst` of the last one, and of rows that
    both asked those whose mean reward `changed` most, with a middling answer of then and of now."""
    best: list[tuple[Sample | None, Sample]] = [(None, one) for one in sorted(last, key=_worth, reverse=True)]
    found: list[tuple[float, Sample, Sample]] = []
    for row_id in dict.fromkeys(one.row_id for one in last):
        then, now = (sorted((one for one in some if one.row_id == row_id), key=_worth) for some in (first, last))
        if then:
            change = abs(fmean(map(_worth, now)) - fmean(map(_worth, then)))
            found.append((change, then[len(then) // 2], now[len(now) // 2]))
    changed = [(before, after) for _, before, after in sorted(found, key=lambda one: -one[0])[:num]]
    return {"best": best[:num], "worst": best[::-1][:num], "changed": [*changed]}


def _worth(sample: Sample) -> float:
    return sample.reward or 0.0
