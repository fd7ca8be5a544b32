"""The recipe section `evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from weitiao.config import Config, as_list
from weitiao.evaluation.metrics.base import find_or_keep
from weitiao.evaluation.metrics.config import MetricConfig, ScoreConfig
from weitiao.evaluation.metrics.matching import ExactMatch
from weitiao.evaluation.metrics.normalize import Normalization
from weitiao.evaluation.metrics.perplexity import Perplexity
from weitiao.generation.config import GenerationConfig


class EvaluationConfig(Config):
    """How a model is scored on the test rows, and on standard benchmarks."""

    metrics: Annotated[
        tuple[ScoreConfig, ...],
        BeforeValidator(as_list, json_schema_input_type=ScoreConfig | list[ScoreConfig]),
    ] = (ExactMatch(),)
    """What grades the answers: types (`exact_match`), mappings with settings (`{type: number, tolerance: 0.01}`) or
    functions (`my.py:score`). The first is the one that is compared and decided by. Where answers are compared as texts
    and are labels of a closed set, `accuracy` and `macro_f1` are added."""

    generation: GenerationConfig = GenerationConfig()
    """How answers are generated: greedily and at most 256 tokens long when nothing else is said."""

    normalize: Normalization = "whitespace"
    """What does not count when an answer is compared with the expected one. `none`: every character counts.
    `whitespace`: space at both ends and the Unicode encoding of an accent do not. `casefold`: neither does case."""

    limit: int | None = Field(default=None, ge=1)
    """Score the first so many test rows only."""

    benchmarks: tuple[str, ...] = ()
    """Tasks of lm-evaluation-harness to run as well: `arc_easy`, or those of `benchmark_path`."""

    benchmark_path: Path | None = None
    """A directory with YAML files of own tasks for lm-evaluation-harness."""

    benchmark_limit: int | None = Field(default=None, ge=1)
    """The first so many items of each benchmark only."""

    @model_validator(mode="after")
    def _metrics_agree(self) -> EvaluationConfig:
        if not self.metrics:
            raise ValueError("`metrics` is empty: name at least one")
        twice = [name for name, count in Counter(one.title for one in self.metrics).items() if count > 1]
        if twice:
            raise ValueError(f"`metrics` has `{twice[0]}` twice: give one of them another `name`")
        if any(one.title == "loss" for one in self.metrics):
            raise ValueError("`metrics` has one called `loss`, as the validation loss is: give it another `name`")
        if isinstance(self.metrics[0], Perplexity) and len(self.metrics) > 1:
            raise ValueError("`perplexity` grades no answer: put a metric that does in front of it")
        return self

    @property
    def graders(self) -> tuple[MetricConfig, ...]:
        """The metrics that grade answers."""
        return tuple(one for one in self.metrics if not isinstance(one, Perplexity))

    @property
    def perplexities(self) -> tuple[Perplexity, ...]:
        """Whether, and under which name, the perplexity of the test rows is asked for."""
        return tuple(one for one in self.metrics if isinstance(one, Perplexity))

    def located(self, folders: Sequence[Path]) -> EvaluationConfig:
        """The same with its paths looked up in these folders, in this order, and made absolute."""
        update: dict[str, object] = {"metrics": tuple(one.located(folders) for one in self.metrics)}
        if self.benchmark_path is not None:
            update["benchmark_path"] = find_or_keep(self.benchmark_path, folders)
        return self.model_copy(update=update)
