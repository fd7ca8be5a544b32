"""The metrics of a recipe: `evaluate.metrics`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from weitiao.evaluation.judges.rating import JudgeMetric
from weitiao.evaluation.metrics.endpoint import Endpoint
from weitiao.evaluation.metrics.function import Function
from weitiao.evaluation.metrics.json_text import JsonFields, JsonSchema, JsonValid
from weitiao.evaluation.metrics.labels import Accuracy, MacroF1
from weitiao.evaluation.metrics.matching import Contains, ExactMatch, NormalizedMatch
from weitiao.evaluation.metrics.number import Number
from weitiao.evaluation.metrics.overlap import Bleu, Chrf, RougeL
from weitiao.evaluation.metrics.perplexity import Perplexity
from weitiao.evaluation.metrics.regex import Regex
from weitiao.evaluation.metrics.style import Language, Length, Repetition
from weitiao.user_code import REFERENCE

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

ScoreConfig = Annotated[
    Annotated[_Score, Field(discriminator="type")],
    BeforeValidator(_from_text, json_schema_input_type=str | Annotated[_Score, Field(discriminator="type")]),
]
"""A metric, or `perplexity`."""

OF_WHOLE_SETS = frozenset(one.title for one in (MacroF1(), Bleu(), Chrf()))
"""What scores are called that the grades of the rows do not give, unless a recipe names them otherwise."""
