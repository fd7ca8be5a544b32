"""What general rows against forgetting cost a training, before it begins."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weitiao.recipe import load_recipe
from weitiao.study.plan import work_of
from weitiao.study.prepared import Prepared, prepare

_AGAIN = re.compile(r"#\d+$")
"""Behind the id of a row that comes once more."""


@dataclass(frozen=True, slots=True)
class ReplayCost:
    """What general rows add.

    Attributes:
        num_rows: General rows in an epoch.
        num_different: How many of them differ; fewer where the file is short and rows come again.
        num_train: Rows of the task.
        share_longer: How much more there is to compute, all steps together: 0.05 is five percent.
    """

    num_rows: int
    num_different: int
    num_train: int
    share_longer: float


def replay_cost(recipe: Path, replay: dict[str, Any]) -> ReplayCost:
    """Hold the training of a recipe with some general rows against the one without any.

    Args:
        recipe: Its file.
        replay: The section `data.replay`.

    Raises:
        WeitiaoError: The rows cannot be read or mixed in, or the model is not there.
    """
    plain = _prepared(recipe, None)
    mixed = _prepared(recipe, replay)
    data = mixed.data.data
    added = data.train[len(data.task_train) :]
    different = {_AGAIN.sub("", one.row_id) for one in added}
    return ReplayCost(len(added), len(different), len(data.task_train), _tokens(mixed) / _tokens(plain) - 1)


def _prepared(recipe: Path, replay: dict[str, Any] | None) -> Prepared:
    loaded = load_recipe(recipe, [f"data.replay={json.dumps(replay, ensure_ascii=False)}"])
    return prepare(loaded, torch.device("cpu"), lambda line: None)


def _tokens(prepared: Prepared) -> float:
    """That all steps compute."""
    work = work_of(prepared)
    return work.tokens * work.num_steps
