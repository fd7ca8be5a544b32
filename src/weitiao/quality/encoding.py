"""Text that was decoded wrongly: mojibake, and bytes that are not UTF-8. Mojibake is found and mended by ftfy."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weitiao.data.reading.utf8 import BAD_BYTES
from weitiao.quality.findings import Problem

_HAN = re.compile("[\u4e00-\u9fff]")
# What the first bytes of UTF-8 become in the encodings that ftfy undoes: Latin, Greek and Cyrillic letters, signs of
# Mac Roman and of code page 437.
_POSSIBLE = re.compile("[\u0080-\u0530\u221a\u2500-\u259f]")


def find_mojibake(text: str, field: str) -> Iterator[Problem]:
    """Text such as `cafÃ©`, and characters that stand for lost bytes.

    A text counts as mojibake when ftfy's heuristic finds an unlikely sequence in it *and* undoing the wrong decoding
    gives another text.
    """
    import ftfy
    from ftfy.badness import is_bad

    if text.isascii():
        return
    if "\ufffd" in text:
        yield Problem(
            "encoding", "holds U+FFFD: text that an earlier step could not decode is lost", field, text, "warning"
        )
    if _POSSIBLE.search(text) and is_bad(text) and ftfy.fix_encoding(text) != text:
        yield Problem("encoding", "mojibake: UTF-8 that was read as another encoding", field, text, "warning")


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
