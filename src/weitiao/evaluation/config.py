"""The recipe section `evaluate`, with the metrics that it may name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, model_validator

from weitiao.config import Config, as_list
from weitiao.evaluation.judges.rating import JudgeMetric
from weitiao.evaluation.metrics.base import Metric, Normalization, find_or_keep
from weitiao.evaluation.metrics.endpoint import Endpoint
from weitiao.evaluation.metrics.function import Function
from weitiao.evaluation.metrics.json_text import JsonFields, JsonSchema, JsonValid
from weitiao.evaluation.metrics.labels import Accuracy, MacroF1
from weitiao.evaluation.metrics.matching import Contains, ExactMatch, NormalizedMatch, Regex
from weitiao.evaluation.metrics.number import Number
from weitiao.evaluation.metrics.overlap import Bleu, Chrf, RougeL
from weitiao.evaluation.metrics.perplexity import Perplexity
from weitiao.evaluation.metrics.style import Language, Length, Repetition
from weitiao.generation.config import GenerationConfig
from weitiao.user_code import REFERENCE


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


_Metric = (
    ExactMatch
    | NormalizedMatch
    | Contains
    | Accuracy
    | MacroF1
    | Number
    | Regex
    | JsonValid
    | JsonSchema
    | JsonFields
    | RougeL
    | Bleu
    | Chrf
    | Length
    | Repetition
    | Language
    | Function
    | Endpoint
    | JudgeMetric
)
_Score = _Metric | Perplexity


def metric_of(value: Any) -> Any:
    """A metric as a mapping: `number` is short for `{type: number}`, `my.py:score` for `{type: function, ...}`."""
    if not isinstance(value, str):
        return value
    return {"type": "function", "path": value} if REFERENCE.fullmatch(value) else {"type": value}


MetricConfig = Annotated[
    Annotated[_Metric, Field(discriminator="type")],
    BeforeValidator(metric_of, json_schema_input_type=str | Annotated[_Metric, Field(discriminator="type")]),
]
"""A metric: its type, or a mapping with `type` and its settings."""

ScoreConfig = Annotated[
    Annotated[_Score, Field(discriminator="type")],
    BeforeValidator(metric_of, json_schema_input_type=str | Annotated[_Score, Field(discriminator="type")]),
]
"""A metric, or `perplexity`."""

METRICS: dict[str, type[Metric]] = {get_args(one.model_fields["type"].annotation)[0]: one for one in get_args(_Metric)}
"""Every metric that grades an answer, by its type."""

OF_WHOLE_SETS = frozenset(one.title for one in (MacroF1(), Bleu(), Chrf()))
"""What scores are called that the grades of the rows do not give, unless a recipe names them otherwise."""
