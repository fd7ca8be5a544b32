"""MinHash: texts to shingles, and shingles to short signatures that agree as often as the texts are alike.

A. Broder, "On the resemblance and containment of documents", 1997: two signatures agree at a place with the probability
of the Jaccard similarity of the two sets of shingles. A place is the least of the shingles' 32-bit hashes under its own
permutation `a x + b` (a odd), folded to 16 bits, by which one place in 65,536 agrees by accident.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NUM_PLACES = 128
_SEED = 20_250_101
_UNIT = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\\w+")
_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
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
    if not text.isascii() and 2 * len(_HAN.findall(text)) > len(units):
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
