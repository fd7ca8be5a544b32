"""Jinja templates over the columns of a row."""

from __future__ import annotations

from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from weitiao.data.reading.rows import BadRow, listed


def _no_null(value: Any) -> Any:
    """Refuses to print null: `Classify: None` would be trained on without anybody noticing."""
    if value is None:
        raise jinja2.TemplateRuntimeError("a value is null (write `{{ column or '' }}` to print nothing)")
    return value


_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, finalize=_no_null, autoescape=False)


class RowTemplate:
    """A sandboxed template; every column is a variable, and `row["any name"]` reaches names that are no identifiers.

    Args:
        source: The template's text. One newline at its end is dropped, as YAML's block strings add one.

    Attributes:
        names: The columns that it may print; None when `row` lets it print any.

    Raises:
        ValueError: The text is no valid template.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        try:
            self._template = _ENVIRONMENT.from_string(source)
            names = jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(f"is no valid Jinja template: {error.message} (line {error.lineno})") from error
        self.names = None if "row" in names else frozenset(names)

    def __reduce__(self) -> tuple[type[RowTemplate], tuple[str]]:
        return RowTemplate, (self._source,)  # for other processes: compiled code does not travel

    def render(self, row: dict[str, Any], *, name: str) -> str:
        """Fills the template in.

        Args:
            row: The columns of the row.
            name: The setting that holds the template, for the reason of a bad row.

        Raises:
            BadRow: A column is missing or null, or the template fails on this row.
        """
        try:
            return self._template.render({"row": row, **row})
        except jinja2.UndefinedError as error:
            raise BadRow(
                name, f"the template fails: {error.message} (the row has the columns {listed(row)})"
            ) from error
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise BadRow(name, f"the template fails: {error}") from error


def variable(column: str) -> str:
    """What prints a column in a template."""
    return f"{{{{ {column} }}}}" if column.isidentifier() else f"{{{{ row[{column!r}] }}}}"


def template_for(column: str, value: Any) -> str:
    """The template that makes text of a number, of true or false, or of a list of texts; empty for other values."""
    if isinstance(value, (list, tuple)):
        joined = value and all(map(is_scalar, value))
        return variable(column).replace(" }}", " | join(', ') }}") if joined else ""
    return variable(column) if is_scalar(value) else ""


def is_scalar(value: Any) -> bool:
    """Whether a value is a text, a number, true or false."""
    return isinstance(value, (str, int, float))
