"""Which files of a folder are stores of feedback, without changing any."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class FoundStore:
    """A store in a line.

    Attributes:
        path: The file.
        pairs: Pairs of answers in it.
        judgements: By each judge, those that were taken back among them.
        changed: When it was written last, in seconds since 1970.
    """

    path: Path
    pairs: int
    judgements: dict[str, int]
    changed: float


def find_stores(folders: Iterable[Path]) -> list[FoundStore]:
    """The stores with pairs in some folders, those that were written last first.

    Args:
        folders: Are looked into, and not what lies deeper in them.
    """
    found = [look_at(path) for folder in folders for path in folder.glob("*.db") if path.is_file()]
    return sorted((one for one in found if one is not None), key=lambda one: -one.changed)


def look_at(path: Path) -> FoundStore | None:
    """What a file holds; None where it is no store with pairs."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1.0)) as connection:
            pairs = connection.execute("SELECT count(*) FROM pairs").fetchone()[0]
            said = dict(connection.execute("SELECT judge, count(*) FROM judgements GROUP BY judge").fetchall())
        files = [file for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()]
        changed = max(file.stat().st_mtime for file in files)
    except (sqlite3.Error, OSError):  # another program's file, or one that goes away meanwhile
        return None
    return FoundStore(path, pairs, said, changed) if pairs else None
