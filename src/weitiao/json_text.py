"""JSON that every reader of JSON reads: without NaN and Infinity, and in files of lines that end where JSON's do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


def json_text(
    value: Any, *, indent: int | None = None, ascii: bool = False, default: Callable[[Any], Any] | None = None
) -> str:
    """A value as JSON text: numbers that are not finite as null, a dataclass as its attributes by name, a path as text.

    Args:
        value: The value.
        indent: Spaces per level; None writes one line.
        ascii: Whether all other characters become escapes.
        default: Makes something that JSON has of any other value.
    """

    def plain(other: Any) -> Any:
        if is_dataclass(other) and not isinstance(other, type):
            return asdict(other)
        if isinstance(other, Path):
            return str(other)
        if default is None:
            raise TypeError(f"{type(other).__name__} is no value that JSON has")
        return default(other)

    try:
        return json.dumps(value, ensure_ascii=ascii, indent=indent, default=plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=ascii, indent=indent, default=plain, allow_nan=False)


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file of JSON Lines, without their ends.

    `str.splitlines` also divides at U+2028, U+2029 and U+0085, which JSON text may hold as they are.
    """
    with path.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            yield line.rstrip("\r\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _finite(asdict(value))
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
