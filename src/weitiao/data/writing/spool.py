"""Rows in a temporary file, to be read again in any order without holding them in memory."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from weitiao.data.reading.json_values import to_json

Write = Callable[[dict[str, Any]], None]
"""Takes a row; raises `BadRow` when the kind of file cannot hold a value of it, and has then written nothing of it."""


class Spool:
    """Values of JSON in the order in which they were added.

    Args:
        folder: Where the temporary file lies; it is gone when the spool is closed or the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `__exit__`
        self._offsets = array("Q")

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Any:
        self._stream.seek(self._offsets[index])
        return json.loads(self._stream.readline())

    def __iter__(self) -> Iterator[Any]:
        self._stream.seek(0)
        for line in self._stream:
            yield json.loads(line)

    def append(self, value: Any) -> str:
        """Adds a value; values are added before the first is read.

        Returns:
            Its JSON text.

        Raises:
            BadRow: It cannot be written as JSON.
        """
        text = to_json(value, strict=False)
        self._offsets.append(self._stream.tell())
        # Half a surrogate pair is written as the escape that JSON has for it.
        self._stream.write(text.encode("utf-8", errors="backslashreplace") + b"\n")
        return text
