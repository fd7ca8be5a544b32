"""Orders that a seed decides: the same on every machine and with every version of a library."""

from __future__ import annotations

import hashlib


def shuffled(num_items: int, *, seed: int, epoch: int) -> list[int]:
    """A permutation of `range(num_items)`: sorted by a hash, so it is the same with every library version."""

    def key(index: int) -> bytes:
        return hashlib.blake2b(f"{seed}/{epoch}/{index}".encode(), digest_size=16).digest()

    return sorted(range(num_items), key=key)
