"""The metrics of a recipe: `evaluate.metrics`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from weitiao.evaluation.judges.rating import JudgeMetricConfig
from weitiao.evaluation.metrics.function import FunctionConfig
from weitiao.evaluation.metrics.json_text import JsonFieldsConfig, JsonSchemaConfig, JsonValidConfig
from weitiao.evaluation.metrics.labels import AccuracyConfig, MacroF1Config
from weitiao.evaluation.metrics.matching import ContainsConfig, ExactMatchConfig, NormalizedMatchConfig
from weitiao.evaluation.metrics.number import NumberConfig
from weitiao.evaluation.metrics.overlap import BleuConfig, ChrfConfig, RougeLConfig
from weitiao.evaluation.metrics.perplexity import PerplexityConfig
from weitiao.evaluation.metrics.regex import RegexConfig
from weitiao.user_code import REFERENCE

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
    return {"type": "function", "path": value} if REFERENCE.fullmatch(value) else {"type": value}


MetricConfig = Annotated[
    Annotated[_Metric, Field(discriminator="type")],
    BeforeValidator(_from_text, json_schema_input_type=str | Annotated[_Metric, Field(discriminator="type")]),
]
"""A metric: its type, or a mapping with `type` and its settings."""

_Score = _Metric | PerplexityConfig

OF_WHOLE_SETS = frozenset(one.title for one in (MacroF1Config(), BleuConfig(), ChrfConfig()))
"""What scores are called that the grades of the rows do not give, unless a recipe names them otherwise."""

ScoreConfig = Annotated[
    Annotated[_Score, Field(discriminator="type")],
    BeforeValidator(_from_text, json_schema_input_type=str | Annotated[_Score, Field(discriminator="type")]),
]
"""A metric, or `perplexity`."""
