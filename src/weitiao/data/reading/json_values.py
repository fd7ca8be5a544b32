"""Values of JSON as RFC 8259 has it: the one place where JSON of users is decoded, and values of a row become it.

Python's decoder takes more than JSON (NaN, Infinity, numbers that become infinite, a key twice, of which it drops the
first) and fails in more ways than with its own exception (a number of more than 4,300 digits, a thousand brackets).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

from weitiao.data.reading.rows import BadRow

MAX_DEPTH = 200
"""Lists and objects within one another. Python's own limit depends on how deep the program is in its calls."""


class JsonError(ValueError):
    """JSON that has the right form and a value that cannot be used; or text that is no JSON at all.

    Args:
        reason: What is wrong, as the end of a sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_json(text: str) -> Any:
    """The value of a text that is one JSON value.

    Raises:
        JsonError: It is none, or its value cannot be used.
    """
    try:
        value, end, problem = decode_json(text, len(text) - len(text.lstrip(" \t\r\n")))
        rest = text[end:].lstrip(" \t\r\n")
        if rest:
            raise json.JSONDecodeError("more follows after the value", text, len(text) - len(rest))
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise JsonError(f"is not valid JSON: {error.msg} at {line}column {error.colno}") from error
    if problem:
        raise JsonError(problem)
    return value


def decode_json(text: str, position: int) -> tuple[Any, int, str]:
    """Decodes the value that begins at a position.

    Returns:
        The value, the position after it, and why it cannot be used; normally empty. With a reason, only the shape of
        the value is right.

    Raises:
        json.JSONDecodeError: There is no whole value, or it is nested so deeply that its end cannot be found.
    """
    try:
        try:
            value, end = _STRICT.raw_decode(text, position)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            said = error.reason if isinstance(error, JsonError) else "holds a number of more than 4,300 digits"
            return *_LOOSE.raw_decode(text, position), said
    except RecursionError as error:
        raise json.JSONDecodeError("lists or objects are nested too deeply", text, position) from error
    # Counting is fast, and most values have fewer brackets than they may have levels.
    if text.count("[", position, end) + text.count("{", position, end) > MAX_DEPTH and _is_deep(value):
        return value, end, f"has more than {MAX_DEPTH} lists and objects within one another"
    return value, end, ""


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer if isinstance(outer, list) else outer.values())
        ]
        if not level:
            return False
    return True


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"has the key `{double}` twice in one object")
    return found


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonError(f"holds the number {text[:30]}, which is larger than a number can be here")
    return number


def _constant(name: str) -> Any:
    raise JsonError(f"holds {name}, which JSON does not have; write null")


_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
# Finds the end of what the strict one refuses.
_LOOSE = json.JSONDecoder(parse_int=len)


def to_json(value: Any, *, strict: bool = True) -> str:
    """A value as JSON text on one line; dates and times in ISO 8601, decimal numbers as text.

    Args:
        value: The value.
        strict: Whether NaN and Infinity, which only Python's own reader takes, are refused.

    Raises:
        BadRow: A part of it has no form in JSON, as bytes have none.
    """
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=not strict)
    except TypeError as error:
        raise BadRow("", str(error)) from error
    except ValueError as error:
        raise BadRow("", "holds NaN or Infinity, which JSON does not have") from error


def check_utf8(name: str, text: str) -> None:
    r"""Refuses half surrogate pairs (`\ud83d` on its own in JSON) where there is no escape to write them with.

    Raises:
        BadRow: The text of the column holds one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start].encode("ascii", errors="backslashreplace").decode()
        raise BadRow(name, f"holds half of a surrogate pair, {half}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"holds a value of the type {type(value).__name__}, which JSON does not have")
