"""Results as JSON: a dataclass is written by the names of its attributes, and read back by their types."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from weitiao.errors import RunError

T = TypeVar("T")

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that may be infinite or none at all: JSON has neither, and `json_text` writes both as null."""


def record_of(kind: type[T], values: Any) -> T:
    """The dataclass that plain JSON values were made from; other keys than its attributes are passed over.

    Raises:
        ValueError: A value is missing, or of another type; `first_problem` says which.
    """
    record: T = _adapter(cast("Any", kind)).validate_python(values)
    return record


def read_record(kind: type[T], path: Path, *, missing: str, damaged: str) -> T:
    """The dataclass in a JSON file.

    Args:
        kind: The dataclass.
        path: The file.
        missing: What to do when there is no such file.
        damaged: What to do when it is something else.

    Raises:
        RunError: There is no such file, it is no JSON, or a value in it is missing or of another type.
    """
    if not path.is_file():
        raise RunError(f"{path.parent} has no {path.name}.", missing)
    try:
        return record_of(kind, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise RunError(f"{path} is damaged: {first_problem(error)}.", damaged) from error


def first_problem(error: ValueError) -> str:
    """What is wrong with JSON at first, and where: `cells.0.cost: Field required`."""
    if not isinstance(error, ValidationError):  # it is no JSON at all
        return str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the whole of it"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
