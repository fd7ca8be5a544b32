"""Characters that nobody sees: control characters, invisible ones, odd spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from weitiao.quality.findings import Problem

# The joiners U+200C and U+200D are not among them: Persian and emoji need them. Nor are tab and line breaks.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ue000-\uf8ff]"
)
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_LINE_BREAK = re.compile("\r\n?|[\u2028\u2029\x85]")
_TRAILING = re.compile("[ \t]+(?=\n)")
_MANY_BREAKS = re.compile("\n{4,}")
_NAMES = {"\u200b": "zero-width space", "\ufeff": "byte order mark", "\u00ad": "soft hyphen"}


def find_control_characters(text: str, field: str) -> Iterator[Problem]:
    """Control characters, and those that change nothing but the tokens: zero-width spaces, marks of direction, ..."""
    for char in dict.fromkeys(_CONTROL.findall(text)):
        private = unicodedata.category(char) == "Co"
        name = _NAMES.get(char, "private use" if private else unicodedata.name(char, "control character").lower())
        at = text.index(char)
        yield Problem(
            "control_characters",
            f"holds U+{ord(char):04X} ({name})" if not private else "holds characters of private use",
            field,
            text[max(0, at - 40) : at + 40],
        )


def remove_control_characters(text: str) -> str:
    """The text without them."""
    return _CONTROL.sub("", text)


def find_whitespace(text: str, field: str) -> Iterator[Problem]:
    """Spaces that are not U+0020, carriage returns, and white space at the ends of a text."""
    if not text.isascii() and _ODD_SPACE.search(text):
        yield Problem("whitespace", "holds non-breaking or other odd spaces", field, text)
    if "\r" in text or (not text.isascii() and _LINE_BREAK.search(text)):
        yield Problem("whitespace", "holds line breaks other than \\n", field, text)
    if text != text.strip():
        where = "begins" if text[0].isspace() else "ends"
        yield Problem("whitespace", f"{where} with white space", field, text)


def plain_whitespace(text: str, *, strip: bool) -> str:
    """The text with plain spaces and line breaks, none at the ends of lines, and at most two empty lines in a row.

    Args:
        text: The text.
        strip: Whether white space at its ends goes, too.
    """
    text = _LINE_BREAK.sub("\n", _ODD_SPACE.sub(" ", text))
    text = _MANY_BREAKS.sub("\n\n\n", _TRAILING.sub("", text))
    return text.strip() if strip else text
