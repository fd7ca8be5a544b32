"""Characters that nobody sees, and those that were decoded wrongly: mojibake, which ftfy mends, and lost bytes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from weitiao.data.reading.opening import BAD_BYTES
from weitiao.quality.findings import About, Found

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


def find_control_characters(text: str, _: About) -> Iterator[Found]:
    """Control characters, and those that change nothing but the tokens: zero-width spaces, marks of direction, ..."""
    for char in dict.fromkeys(_CONTROL.findall(text)):
        private = unicodedata.category(char) == "Co"
        name = _NAMES.get(char, "private use" if private else unicodedata.name(char, "control character").lower())
        at = text.index(char)
        reason = f"holds U+{ord(char):04X} ({name})" if not private else "holds characters of private use"
        yield Found(reason, text[max(0, at - 40) : at + 40])


def remove_control_characters(text: str) -> str:
    """The text without them."""
    return _CONTROL.sub("", text)


def find_whitespace(text: str, _: About) -> Iterator[Found]:
    """Spaces that are not U+0020, carriage returns, and white space at the ends of a text."""
    if not text.isascii() and _ODD_SPACE.search(text):
        yield Found("holds non-breaking or other odd spaces")
    if "\r" in text or (not text.isascii() and _LINE_BREAK.search(text)):
        yield Found("holds line breaks other than \\n")
    if text != text.strip():
        yield Found("begins with white space" if text[0].isspace() else "ends with white space")


def plain_whitespace(text: str, *, strip: bool) -> str:
    """The text with plain spaces and line breaks, none at the ends of lines, and at most two empty lines in a row.

    Args:
        text: The text.
        strip: Whether white space at its ends goes, too.
    """
    text = _LINE_BREAK.sub("\n", _ODD_SPACE.sub(" ", text))
    text = _MANY_BREAKS.sub("\n\n\n", _TRAILING.sub("", text))
    return text.strip() if strip else text


_HAN = re.compile("[\u4e00-\u9fff]")
# What the first bytes of UTF-8 become in the encodings that ftfy undoes: Latin, Greek and Cyrillic letters, signs of
# Mac Roman and of code page 437.
_POSSIBLE = re.compile("[\u0080-\u0530\u221a\u2500-\u259f]")


def find_mojibake(text: str, _: About) -> Iterator[Found]:
    """Text such as `cafÃ©`, and characters that stand for lost bytes.

    A text counts as mojibake when ftfy's heuristic finds an unlikely sequence in it *and* undoing the wrong decoding
    gives another text.
    """
    import ftfy
    from ftfy.badness import is_bad

    if text.isascii():
        return
    if "\ufffd" in text:
        yield Found("holds U+FFFD: text that an earlier step could not decode is lost", severity="warning")
    if _POSSIBLE.search(text) and is_bad(text) and ftfy.fix_encoding(text) != text:
        yield Found("mojibake: UTF-8 that was read as another encoding", severity="warning")


def mend_mojibake(text: str) -> str:
    """The text that mojibake came from, as ftfy finds it."""
    import ftfy

    return text if text.isascii() else ftfy.fix_encoding(text)


def mend_bytes(text: str) -> str:
    """Decodes bytes that were not UTF-8, kept as lone surrogates, by the most likely of the usual other ways.

    These are, in this order: emoji as two surrogates of three bytes each (CESU-8), as Java and MySQL write them;
    GB 18030, when what comes out is mostly Chinese; Windows-1252.

    Args:
        text: A text with lone surrogates U+DC80 to U+DCFF.
    """
    from ftfy import bad_codecs

    bad_codecs.ok()

    def decoded(match: re.Match[str]) -> str:
        data = match[0].encode("utf-8", errors="surrogateescape")
        for codec in ("utf-8-variants", "gb18030"):
            try:
                result = data.decode(codec)
            except UnicodeDecodeError:
                continue
            if codec != "gb18030" or len(_HAN.findall(result)) * 2 > len(result):
                return result
        return data.decode("sloppy-windows-1252")

    return BAD_BYTES.sub(decoded, text)
