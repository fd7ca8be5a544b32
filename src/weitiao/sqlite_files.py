"""Files of SQLite that several processes write to, and that a crash does not harm."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WAIT_SECONDS = 60.0


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose statements each stand by themselves, unless they are put between `BEGIN` and `COMMIT`.

    Raises:
        sqlite3.Error: It is no such file, or cannot be read or written.
    """
    connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        yield connection
    finally:
        connection.close()
