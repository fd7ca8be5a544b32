"""The metrics of a recipe: `evaluate.metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from weitiao.evaluation.metrics.config_base import MetricConfigBase, Normalize, Setting
from weitiao.evaluation.metrics.config_json import JsonFieldsConfig, JsonSchemaConfig, JsonValidConfig
from weitiao.evaluation.metrics.config_own import (
    FUNCTION,
    BleuConfig,
    ChrfConfig,
    FunctionConfig,
    JudgeMetricConfig,
    RougeLConfig,
)
from weitiao.evaluation.metrics.config_text import (
    AccuracyConfig,
    ContainsConfig,
    ExactMatchConfig,
    MacroF1Config,
    NormalizedMatchConfig,
    NumberConfig,
    RegexConfig,
)

if TYPE_CHECKING:
    from weitiao.evaluation.metrics.base import Metric


class PerplexityConfig(MetricConfigBase):
    """Perplexity of the test rows: of their answers, or of raw text. It grades no answer and is no first metric."""

    type: Literal["perplexity"] = "perplexity"
    """The score."""


_Metric = (
    ExactMatchConfig
    | NormalizedMatchConfig
    | ContainsConfig
    | AccuracyConfig
    | MacroF1Config
    | NumberConfig
    | RegexConfig
    | JsonValidConfig
    | JsonSchemaConfig
    | JsonFieldsConfig
    | RougeLConfig
    | BleuConfig
    | ChrfConfig
    | FunctionConfig
    | JudgeMetricConfig
)


def _from_text(value: Any) -> Any:
    """`number` is short for `{type: number}`, and `my.py:score` for `{type: function, path: my.py:score}`."""
    if not isinstance(value, str):
        return value
    return {"type": "function", "path": value} if FUNCTION.fullmatch(value) else {"type": value}


MetricConfig = Annotated[
    Annotated[_Metric, Field(discriminator="type")],
    BeforeValidator(_from_text, json_schema_input_type=str | Annotated[_Metric, Field(discriminator="type")]),
]
"""A metric: its type, or a mapping with `type` and its settings."""

_Score = _Metric | PerplexityConfig

OF_WHOLE_SETS = frozenset(one.title for one in (MacroF1Config(), BleuConfig(), ChrfConfig()))
"""What scores are called that the grades of the rows do not give, unless a recipe names them otherwise."""

KINDS: tuple[type[MetricConfigBase], ...] = get_args(_Score)
"""The settings of every kind, for the reference page of recipes."""

ScoreConfig = Annotated[
    Annotated[_Score, Field(discriminator="type")],
    BeforeValidator(_from_text, json_schema_input_type=str | Annotated[_Score, Field(discriminator="type")]),
]
"""A metric, or `perplexity`."""


def build(config: _Metric, *, normalize: Normalize = "whitespace", labels: Sequence[str] = ()) -> Metric:
    """The metric that a recipe describes.

    Args:
        config: Its settings.
        normalize: `evaluate.normalize`, for those that leave it open.
        labels: The closed set of labels, for those that leave it open.

    Raises:
        WeitiaoError: A file or a package that it needs is not there.
    """
    return config.build(Setting(normalize, labels))
