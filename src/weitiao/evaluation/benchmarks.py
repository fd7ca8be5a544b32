"""Standard benchmarks, through lm-evaluation-harness."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from weitiao.errors import MissingExtraError, RecipeError
from weitiao.evaluation.statistics import Estimate, mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Aggregations = dict[str, Callable[[Sequence[Any]], float]]
"""By metric: a score of its values."""

_NUM_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """What came of some benchmarks.

    Attributes:
        scores: By benchmark, and by metric. A metric behind a filter of the benchmark is called `METRIC,FILTER`.
        samples: A line for each item: benchmark, number, filter, the item, the model's answers, the metrics.
    """

    scores: dict[str, dict[str, Estimate]]
    samples: tuple[dict[str, Any], ...]


def run_benchmarks(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    *,
    path: Path | None = None,
    limit: int | None = None,
    batch_size: int = 32,
) -> Benchmarks:
    """Run tasks of lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness) as they are published.

    Args:
        model: With attention that transformers brings (`sdpa`), with or without adapter.
        tokenizer: Its tokenizer.
        names: Tasks, or groups of tasks.
        path: A directory with YAML files of own tasks.
        limit: The first so many items of each.
        batch_size: Items computed at once.

    Returns:
        The scores of every task, and of every group that is a mean over all its items. Means of items get the interval
        of `statistics.mean`, other figures the middle 95 % of resampled sets.

    Raises:
        MissingExtraError: The package is not installed.
        RecipeError: There is no such task, or its data cannot be had.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtraError("`evaluate.benchmarks`", "eval") from error
    with _quiet():
        manager = _task_manager(TaskManager, names, path)
        groups, alone, aggregations = _load(manager, names)
        found = simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
            tasks=[*groups, *alone],
            task_manager=manager,
            limit=limit,
            bootstrap_iters=0,  # it would print to stdout; the intervals are our own
            log_samples=True,
        )
    items: dict[str, list[dict[str, Any]]] = found["samples"]
    scores = {}
    for group in groups:
        samples = [sample for task in group.get_all_tasks() for sample in items[task.task_name]]
        if of_group := dict(_scores(found["results"].get(group.name, {}), samples, {})):
            scores[group.name] = of_group
    for name, samples in items.items():
        scores[name] = dict(_scores(found["results"][name], samples, aggregations[name]))
    return Benchmarks(
        scores, tuple({"benchmark": name, **sample} for name, samples in items.items() for sample in samples)
    )


def _task_manager(kind: Any, names: Sequence[str], path: Path | None) -> Any:
    """Where the harness finds its tasks: those of the directory alone when it has them all, which is much faster."""
    if path is not None:
        if not path.is_dir():
            raise RecipeError(f"evaluate.benchmark_path: there is no directory {path}.", "Correct the path.")
        manager = kind(include_path=str(path), include_defaults=False)
        if all(name in manager.all_tasks for name in names):
            return manager
    manager = kind(include_path=None if path is None else str(path))
    for name in names:
        if name not in manager.all_tasks:
            raise RecipeError(
                f"evaluate.benchmarks: lm-evaluation-harness has no task `{name}`.",
                "`lm_eval ls tasks` lists those it has; own ones belong into evaluate.benchmark_path.",
            )
    return manager


def _load(manager: Any, names: Sequence[str]) -> tuple[list[Any], list[Any], dict[str, Aggregations]]:
    """Groups that were asked for, tasks outside of them, and how each task makes scores of the metrics of its items."""
    try:
        found = manager.load(list(names))
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(
            f"evaluate.benchmarks: {', '.join(names)} cannot be loaded: {type(error).__name__}: {reason}",
            "The harness's own tasks fetch their data from the hub; a YAML file in evaluate.benchmark_path may name a "
            "local file.",
        ) from error
    groups = [found["groups"][name] for name in names if name in found["groups"]]
    inside = {task.task_name for group in groups for task in group.get_all_tasks()}
    alone = [task for name, task in found["tasks"].items() if name not in inside]
    return groups, alone, {name: task.aggregation() for name, task in found["tasks"].items()}


def _scores(
    results: dict[str, Any], samples: Sequence[dict[str, Any]], aggregations: Aggregations
) -> Iterator[tuple[str, Estimate]]:
    """The scores of a task, from what the harness reports and the metrics of its items."""
    for key, value in results.items():
        metric, _, chosen = key.partition(",")
        if not chosen or metric.endswith("_stderr") or not isinstance(value, Real):
            continue
        name = metric if chosen == "none" else key
        values = [sample[metric] for sample in samples if sample.get("filter", "none") == chosen and metric in sample]
        numbers = [float(one) for one in values if isinstance(one, Real)]
        if values and len(numbers) == len(values) and math.isclose(fmean(numbers), float(value), abs_tol=1e-9):
            yield name, mean(numbers)
        elif values and metric in aggregations:
            yield name, _resampled(values, float(value), aggregations[metric])


def _resampled(values: Sequence[Any], value: float, aggregate: Callable[[Sequence[Any]], float]) -> Estimate:
    """A figure of the whole set with the middle 95 % of resampled sets."""
    draw, n = np.random.default_rng(0), len(values)
    figures = [float(aggregate([values[k] for k in draw.integers(n, size=n)])) for _ in range(_NUM_RESAMPLES)]
    low, high = np.quantile(figures, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the harness's advice on its own options; errors still reach the terminal."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
