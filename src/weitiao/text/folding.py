"""When two texts count as the same: folding, and 64-bit keys of what is left."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import chain

_DROPPED = chain(
    map(
        ord,
        "!\"#$'(),.:;?[]`{}~_*-\u00ab\u00ad\u00b6\u00b7\u00bb\u00bf\u30fb\u060c\u061b\u061f\u06d4\u0964\u0965\ufeff",
    ),
    range(0x00, 0x21),
    range(0x7F, 0xA8),
    range(0x2000, 0x2070),
    range(0x20A0, 0x20C1),
    range(0x2E00, 0x2E80),
    range(0x3000, 0x3005),
    range(0x3008, 0x3021),
)
_TO_SPACE = dict.fromkeys(_DROPPED, " ")
_OPERATOR = re.compile(r"(?:(?<=\d)|(?<=\d )|(?<=[=(+*/ ])|^)([-*])(?= ?\d)")
_KEPT_OPERATORS = {"-": "−", "*": "×"}
_HAN = "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff"
_NEXT_TO_HAN = re.compile(f"(?<=[{_HAN}]) | (?=[{_HAN}])")
# `3 5` may be 3.5 or two numbers, but is not 35.
_SPACE = re.compile(r"(?<![0-9]) | (?![0-9])")


def fold(text: str) -> str:
    """What two texts have in common that a reader would call the same.

    Case, punctuation, white space, full and half width do not count. A minus and a multiplication sign between or
    before numbers stay, as do `+ / = < > %`: `2 - 2` is not `2 + 2`. Signs of currencies do not.

    Args:
        text: Any text.

    Returns:
        The folded text; the text itself without white space where nothing else would be left of it.
    """
    plain = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    kept = _OPERATOR.sub(lambda m: _KEPT_OPERATORS[m[1]], plain) if "-" in plain or "*" in plain else plain
    folded = " ".join(kept.translate(_TO_SPACE).split())
    if not folded.isascii():
        folded = _NEXT_TO_HAN.sub("", folded)
    return folded or "".join(plain.split())


def letters(text: str) -> str:
    """What `fold` leaves of a text, without the spaces between words: `top-up`, `top up` and `topup` are one."""
    return _SPACE.sub("", fold(text))


def key_of(text: str) -> int:
    """A 64-bit key of a text: a million different ones share a key with a probability of 3 in 100 million."""
    data = text.encode("utf-8", errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
