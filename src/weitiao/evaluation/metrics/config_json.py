"""Settings of the metrics for answers in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from weitiao.evaluation.metrics.config_base import MetricConfigBase, Setting, found

if TYPE_CHECKING:
    from weitiao.evaluation.metrics.base import Metric


class JsonValidConfig(MetricConfigBase):
    """Right when the answer is JSON."""

    type: Literal["json_valid"] = "json_valid"
    """The metric."""

    allow_fence: bool = False
    """Whether the answer may stand in a Markdown code fence."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.json_text import JsonValid

        return JsonValid(self.title, allow_fence=self.allow_fence)


class JsonSchemaConfig(MetricConfigBase):
    """Right when the answer is JSON that a JSON Schema allows."""

    type: Literal["json_schema"]
    """The metric."""

    path: Path | None = None
    """A file with the schema, in JSON or YAML; or give `definition`."""

    definition: dict[str, Any] | None = None
    """The schema itself."""

    allow_fence: bool = False
    """Whether the answer may stand in a Markdown code fence."""

    packages: ClassVar[tuple[str, ...]] = ("jsonschema",)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content its grades depend on."""
        return () if self.path is None else (self.path,)

    @model_validator(mode="after")
    def _one_schema(self) -> JsonSchemaConfig:
        if (self.path is None) == (self.definition is None):
            raise ValueError("give the schema either as `path` or as `definition`")
        return self

    def located(self, folders: Sequence[Path]) -> JsonSchemaConfig:
        return self if self.path is None else self.model_copy(update={"path": found(self.path, folders)})

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.json_text import JsonSchema, read_schema

        schema = self.definition if self.path is None else read_schema(self.path)
        return JsonSchema(self.title, schema, allow_fence=self.allow_fence)


class JsonFieldsConfig(MetricConfigBase):
    """F1 over the fields of a JSON answer, each of which has to have exactly the expected value."""

    type: Literal["json_fields"] = "json_fields"
    """The metric."""

    fields: tuple[str, ...] = ()
    """Count only these: dotted names, without places in lists (`items.price`). All of them when not given."""

    allow_fence: bool = False
    """Whether the answer may stand in a Markdown code fence."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.json_text import JsonFields

        return JsonFields(self.title, fields=self.fields, allow_fence=self.allow_fence)
