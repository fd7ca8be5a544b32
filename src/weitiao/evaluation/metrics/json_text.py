"""Metrics for answers in JSON: validity, a schema, and the fields."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, Self

from pydantic import PrivateAttr, model_validator

from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.metrics.base import Item, Metric, find_or_keep

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL | re.IGNORECASE)
_NUM_PROBLEMS = 10
_NOT_JSON = "not JSON"
_MOST_DIGITS = 4_000  # of an int; Python refuses to read longer ones

FieldPath = tuple[str | int, ...]


def parse_json(text: str, *, allow_fence: bool, exact: bool = False) -> Any:
    """The value of a JSON text, as RFC 8259 has it: `NaN` and `Infinity` are none, and numbers have any length.

    Args:
        text: The whole of it has to be JSON, apart from space around it.
        allow_fence: Whether it may stand in a Markdown code fence.
        exact: Whether numbers with a point or an exponent become decimals, which tell 0.1 from 0.10000000000000001.

    Raises:
        ValueError: It is no JSON.
    """
    text = text.strip()
    if allow_fence and (fenced := _FENCE.fullmatch(text)):
        text = fenced[1]
    try:
        numbers: dict[str, Any] = {"parse_float": _decimal} if exact else {}
        return json.loads(text, parse_constant=_refuse, parse_int=_whole, **numbers)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _MOST_DIGITS else Decimal(digits)


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation as error:
        raise ValueError(f"{digits[:60]} is beyond all measure") from error


def _value_in(text: str, *, allow_fence: bool, exact: bool = False) -> tuple[Any] | None:
    """The value of a JSON text in a tuple of its own, as it may be null; None when the text is no JSON."""
    try:
        return (parse_json(text, allow_fence=allow_fence, exact=exact),)
    except ValueError:
        return None


def read_schema(path: Path) -> Any:
    """The schema in a file, JSON or YAML.

    Raises:
        RecipeError: The file cannot be read.
    """
    from weitiao.yaml_text import read_yaml

    try:
        return read_yaml(path)  # JSON is YAML
    except RecipeError as error:
        raise RecipeError(f"The JSON Schema {error.what}", "Name a JSON or YAML file.") from error


class _Faultless(Metric):
    """Right when there is nothing wrong with an answer; what is wrong with the others is counted."""

    @abstractmethod
    def fault(self, answer: str) -> str | None:
        """What is wrong with an answer; None when it is right."""

    def grade(self, item: Item) -> float:
        return float(self.fault(item.answer) is None)

    def details(self, items: Sequence[Item]) -> dict[str, Any]:
        problems = Counter(fault for item in items if (fault := self.fault(item.answer)) is not None)
        return {"problems": dict(problems.most_common(_NUM_PROBLEMS))}


class JsonValid(_Faultless):
    """Right when the answer is JSON."""

    type: Literal["json_valid"] = "json_valid"
    """The metric."""

    allow_fence: bool = False
    """Whether the answer may stand in a Markdown code fence."""

    def fault(self, answer: str) -> str | None:
        return _NOT_JSON if _value_in(answer, allow_fence=self.allow_fence) is None else None


class JsonSchema(_Faultless):
    """Right when the answer is JSON that a JSON Schema allows; references to other documents are not followed."""

    type: Literal["json_schema"]
    """The metric."""

    path: Path | None = None
    """A file with the schema, in JSON or YAML; or give `definition`."""

    definition: dict[str, Any] | None = None
    """The schema itself."""

    allow_fence: bool = False
    """Whether the answer may stand in a Markdown code fence."""

    packages: ClassVar[tuple[str, ...]] = ("jsonschema",)

    _validator: Any = PrivateAttr()

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content its grades depend on."""
        return () if self.path is None else (self.path,)

    @model_validator(mode="after")
    def _one_schema(self) -> Self:
        if (self.path is None) == (self.definition is None):
            raise ValueError("give the schema either as `path` or as `definition`")
        return self

    def located(self, folders: Sequence[Path]) -> Self:
        return self if self.path is None else self.model_copy(update={"path": find_or_keep(self.path, folders)})

    def prepare(self) -> None:
        import jsonschema
        from referencing import Registry

        schema = self.definition if self.path is None else read_schema(self.path)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise RecipeError(
                f"The metric `{self.title}`: its schema is no JSON Schema: {error.json_path}: {error.message}.",
                "Correct the schema; https://json-schema.org describes the form.",
            ) from error
        self._validator = kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)

    def fault(self, answer: str) -> str | None:
        from referencing.exceptions import Unresolvable

        found = _value_in(answer, allow_fence=self.allow_fence)
        if found is None:
            return _NOT_JSON
        try:
            errors = self._validator.iter_errors(found[0])
            faults = sorted((re.sub(r"\[\d+\]", "[]", one.json_path), one.validator) for one in errors)
        except Unresolvable as error:
            raise RecipeError(
                f"The metric `{self.title}`: its schema refers to {error.ref!r}, which is not in it.",
                "Put the definition into the schema itself, below `$defs`.",
            ) from error
        return None if not faults else "{}: {}".format(*faults[0])


class JsonFields(Metric):
    """F1 over the fields of a JSON answer, each of which has to have exactly the expected value.

    A field is a value that is no object and no list, at its path from the top; it is right when the answer has the
    same value at the same path. Numbers are equal by value (`1` and `1.0`), everything else exactly; true is not 1.
    """

    type: Literal["json_fields"] = "json_fields"
    """The metric."""

    fields: tuple[str, ...] = ()
    """Count only these: dotted names, without places in lists (`items.price`). All of them when not given."""

    allow_fence: bool = False
    """Whether the answer may stand in a Markdown code fence."""

    def grade(self, item: Item) -> float:
        expected, answer = self._both(item)
        if not expected and not answer:
            return float(self._parsed(item.answer) is not None)
        return 2 * len(_right(expected, answer)) / (len(expected) + len(answer))

    def check(self, item: Item) -> None:
        if self._parsed(item.expected) is None:
            raise DataError(
                f"{item.row_id}: the expected answer is no JSON, which the metric `{self.title}` compares: "
                f"{item.expected[:80]!r}.",
                "Correct or remove the row, or choose another metric.",
            )

    def details(self, items: Sequence[Item]) -> dict[str, Any]:
        """Counts over all fields of all answers (precision, recall and F1 of the whole), and for each field."""
        expected_by: Counter[str] = Counter()
        right_by: Counter[str] = Counter()
        num_expected = num_answered = not_json = 0
        for item in items:
            expected, answer = self._both(item)
            not_json += self._parsed(item.answer) is None
            num_expected, num_answered = num_expected + len(expected), num_answered + len(answer)
            expected_by.update(map(_label, expected))
            right_by.update(map(_label, _right(expected, answer)))
        total = right_by.total()
        return {
            "precision": total / num_answered if num_answered else 0.0,
            "recall": total / num_expected if num_expected else 0.0,
            "micro_f1": 2 * total / (num_expected + num_answered) if num_expected + num_answered else 0.0,
            "num_not_json": not_json,
            "fields": {
                label: {"n": count, "correct": right_by[label], "accuracy": right_by[label] / count}
                for label, count in expected_by.items()
            },
        }

    def _both(self, item: Item) -> tuple[dict[FieldPath, Any], dict[FieldPath, Any]]:
        """The fields of the expected answer and of the answer, those that count."""
        return self._chosen(self._parsed(item.expected)), self._chosen(self._parsed(item.answer))

    def _parsed(self, text: str) -> tuple[Any] | None:
        return _value_in(text, allow_fence=self.allow_fence, exact=True)

    def _chosen(self, parsed: tuple[Any] | None) -> dict[FieldPath, Any]:
        leaves = {} if parsed is None else dict(_leaves(parsed[0]))
        return {path: value for path, value in leaves.items() if not self.fields or self._counts(_label(path))}

    def _counts(self, label: str) -> bool:
        return any(label == field or label.startswith(f"{field}.") for field in self.fields)


def _leaves(value: Any, path: FieldPath = ()) -> Iterator[tuple[FieldPath, Any]]:
    """Every field of a value with its path; an empty object or list is one."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(value, list) and value:
        for place, part in enumerate(value):
            yield from _leaves(part, (*path, place))
    else:
        yield path, value


def _right(expected: dict[FieldPath, Any], answer: dict[FieldPath, Any]) -> list[FieldPath]:
    return [path for path, value in expected.items() if path in answer and _same(value, answer[path])]


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _label(path: FieldPath) -> str:
    """The dotted name of a field: places in lists are left out."""
    return ".".join(part for part in path if isinstance(part, str))
