"""Values of a row as JSON."""

from __future__ import annotations

import json
from datetime import date, time
from decimal import Decimal
from typing import Any

from weitiao.data.reading.rows import BadRow


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
