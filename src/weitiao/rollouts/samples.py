"""What a rollout gave: answers with their rewards and log-probabilities, and the file in the run directory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

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
        sampled: T log-probabilities, as the generation had them.
        rewards: The score of each part of the reward, before it is weighted.
        reward: The weighted sum; None where a part failed.
        dropped: Why nothing is learned from it; empty for the others.
        old, reference: T log-probabilities by the training's forward pass, of the model that wrote it and of the one
            that the training began with; empty where they are not needed.
        advantages: T numbers.
    """

    row_id: str
    group: int
    answer: str
    token_ids: tuple[int, ...]
    stopped: bool
    sampled: tuple[float, ...]
    rewards: Mapping[str, float] = field(default_factory=dict)
    reward: float | None = None
    dropped: str = ""
    old: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    advantages: tuple[float, ...] = ()


@dataclass(slots=True)
class Rollout:
    """The samples of a rollout, and what they cost.

    Attributes:
        samples: Of all prompts, those of a prompt one after the other.
        seconds: Of generation, scoring and log-probabilities, by name.
    """

    samples: tuple[Sample, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)

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
    head = {"seconds": dict(rollout.seconds)}
    write_lines(path, [head, *({f.name: getattr(one, f.name) for f in fields(Sample)} for one in rollout.samples)])


def read_rollout(path: Path) -> Rollout:
    """Read what `write_rollout` wrote."""
    head, *lines = map(json.loads, lines_of(path))
    return Rollout(tuple(_sample(line) for line in lines), head["seconds"])


def _sample(values: dict[str, Any]) -> Sample:
    values |= {name: tuple(one) for name, one in values.items() if isinstance(one, list)}
    return Sample(**values)


def remove_from(directory: Path, number: int) -> None:
    """Remove the rollouts with this number and later ones: they are made again, by the weights that the run has."""
    for path in _files(directory):
        if int(path.stem.rpartition("-")[2]) >= number:
            path.unlink()


def _files(directory: Path) -> Iterable[Path]:
    return sorted(directory.glob("rollout-*.jsonl"))
