"""When two texts count as the same, and how alike they are: folding, keys, shingles and MinHash."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

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


NUM_PLACES = 128
_SEED = 20_250_101
_UNIT = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\\w+")
_HAN_SIGN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
WORDS_PER_SHINGLE = 3
HAN_PER_SHINGLE = 4
LEAST_UNITS = 5


def shingles(text: str) -> list[str]:
    """The overlapping runs of three words, or of four characters where the text is mostly Chinese or Japanese.

    Args:
        text: Folded text (`keys.fold`).

    Returns:
        Different shingles in a fixed order; none for a text of fewer than five words, about which only equality can
        be said.
    """
    units = _UNIT.findall(text)
    if len(units) < LEAST_UNITS:
        return []
    size = WORDS_PER_SHINGLE
    if not text.isascii() and 2 * len(_HAN_SIGN.findall(text)) > len(units):
        size = HAN_PER_SHINGLE
    return list(dict.fromkeys(map(" ".join, zip(*(units[i:] for i in range(size)), strict=False))))


def signatures(texts: Sequence[list[str]]) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """The signatures of many sets of shingles.

    Args:
        texts: The shingles of each text.

    Returns:
        An array of one row per text and `NUM_PLACES` columns, zero for texts without shingles; and which have any.
    """
    table = np.zeros((len(texts), NUM_PLACES), dtype=np.uint16)
    sizes = np.array([len(parts) for parts in texts], dtype=np.int64)
    present = sizes > 0
    if not present.any():
        return table, present
    # A lone surrogate has no UTF-8, but is a character like any other here.
    codes = (zlib.crc32(part.encode("utf-8", "surrogatepass")) for parts in texts for part in parts)
    hashes = _mixed(np.fromiter(codes, dtype=np.uint32, count=int(sizes.sum())))
    starts = (np.cumsum(sizes) - sizes)[present]
    for place, (factor, offset) in enumerate(_permutations()):
        least = np.minimum.reduceat(hashes * factor + offset, starts)
        table[present, place] = least ^ (least >> np.uint32(16))
    return table, present


def _permutations() -> list[tuple[np.uint32, np.uint32]]:
    drawn = np.random.default_rng(_SEED).integers(0, 1 << 32, size=(NUM_PLACES, 2), dtype=np.uint32)
    return [(factor | np.uint32(1), offset) for factor, offset in drawn]


def _mixed(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finalizer of MurmurHash3 (A. Appleby): CRC-32 is linear, and alike texts would have alike hashes."""
    hashes = (hashes ^ hashes >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ hashes >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    mixed: NDArray[np.uint32] = hashes ^ hashes >> np.uint32(16)
    return mixed
