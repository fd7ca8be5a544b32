"""MinHash: texts to shingles, and shingles to short signatures that agree as often as the texts are alike.

A. Broder, "On the resemblance and containment of documents", 1997: two signatures agree at a place with the probability
of the Jaccard similarity of the two sets of shingles. Signatures are made by rensa and cut to 16 bits a place, by which
one place in 65,536 agrees by accident.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    import numpy as np
    from rensa import RMinHash

    table = np.zeros((len(texts), NUM_PLACES), dtype=np.uint16)
    present = np.array([bool(parts) for parts in texts], dtype=bool)
    if present.any():
        digests = RMinHash.digest_matrix_from_token_sets([parts for parts in texts if parts], NUM_PLACES, _SEED)
        table[present] = np.asarray(digests.to_rows(), dtype=np.uint64) & 0xFFFF
    return table, present
