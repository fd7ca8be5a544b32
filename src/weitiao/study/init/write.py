"""A recipe as a person would write it: short, commented, every value in a form that reads back as itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_NOT_TEXT = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
_COMMENT_COLUMN, _LINE = 32, 100

Line = tuple[int, str, str]
"""Depth, what stands there, and a comment."""


def scalar(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN.fullmatch(value) and value.casefold() not in _NOT_TEXT:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return "\\n" if character == "\n" else f"\\U{ord(character):08x}"


def source_lines(depth: int, key: str, path: str, settings: Mapping[str, Any]) -> list[Line]:
    """A source under its key: a mere path, or a mapping; as an item of a list where `key` is `-`."""
    if not settings:
        return [(depth, f"- {scalar(path)}" if key == "-" else f"{key}: {scalar(path)}", "")]
    lines = [
        (depth + 1 + (part > 0), line, "")
        for name, value in settings.items()
        for part, line in enumerate(_folded(f"{name}: {scalar(value)}"))
    ]
    first = f"path: {scalar(path)}"
    head = [(depth, f"- {first}", "")] if key == "-" else [(depth, f"{key}:", ""), (depth + 1, first, "")]
    return [*head, *lines]


def _folded(line: str) -> list[str]:
    """A long text in quotes over several lines: YAML reads a line break there as a space."""
    if len(line) <= _LINE or "  " in line or not line.endswith('"'):
        return [line]
    return textwrap.wrap(line, _LINE, break_long_words=False, break_on_hyphens=False)


def text(head: Sequence[str], lines: Sequence[Line]) -> str:
    """The file: comments at its head, then the lines."""
    out = [f"# {_one_line(line)}".rstrip() for line in head]
    out.append("")
    for depth, what, comment in lines:
        line = "  " * depth + what
        out.append(f"{line:<{_COMMENT_COLUMN}} # {_one_line(comment)}" if comment else line)
    return "\n".join(out) + "\n"


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else "�" for one in " ".join(text.split()))
