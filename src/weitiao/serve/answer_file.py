"""A file of answers that comes to be line by line, and is gone on with after whatever ended its process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from weitiao.data.conversion.turns import without_parts
from weitiao.data.example import Example, Message, asked
from weitiao.errors import RunError
from weitiao.files import full_disk_is_named, in_one_step
from weitiao.json_text import json_text


class AnswerFile:
    """Answers as they come, in a file beside the one that they end in.

    The first line of it says what the answers are to; each other is an answer, in the order in which they were ready. A
    line that a process left half was written by nobody: it is cut off.

    Args:
        path: Where the answers are when all are there: JSON Lines, in the order of their rows.
        job: What decides the answers: going on with others would mix them.

    Attributes:
        done: Row ids of the answers that are there.
        partial: The file beside.
    """

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        self._path, self._job = path, dict(job)
        self.partial = path.with_name(f"{path.name}.partial")
        self._lock = path.with_name(f"{path.name}.partial.lock")
        self.done: set[str] = set()
        self._stream: BinaryIO | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have the file for oneself, to add answers.

        Raises:
            RunError: The answers are there already, others were begun here, or another process writes them.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(f"Another process writes {self._path}.", "Wait for it, or give another --output.") from error
        try:
            if self._path.exists():
                raise RunError(f"{self._path} is there already.", "Remove it, or give another --output.")
            with self.partial.open("a+b") as stream:
                self._stream = stream
                self._read(stream)
                try:
                    yield
                finally:
                    if not self.done:  # by nobody, ever: then there is nothing to go on with
                        self.partial.unlink()
        finally:
            self._stream = None
            if not self.partial.exists():
                self._lock.unlink(missing_ok=True)
            lock.release()

    def _read(self, stream: BinaryIO) -> None:
        stream.seek(0)
        whole, job = 0, dict[str, Any]()
        for number, line in enumerate(stream):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            if number == 0:
                job = json.loads(line)
            else:
                self._require_same(job)
                self.done.add(str(json.loads(line)["row_id"]))
        stream.truncate(whole if self.done else 0)
        stream.seek(0, os.SEEK_END)
        if not self.done:
            self._write(self._job)

    def _require_same(self, job: Mapping[str, Any]) -> None:
        if job != self._job:
            named = next((name for name in self._job if job.get(name) != self._job[name]), "file")
            remedy = "Remove it to begin anew, or give another --output."
            raise RunError(f"{self.partial} was begun with another {named}.", remedy)

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep an answer; once this returns, it is there whatever becomes of the process."""
        self._write(row)
        self.done.add(str(row["row_id"]))

    def _write(self, value: Mapping[str, Any]) -> None:
        assert self._stream is not None, "the file is open"
        with full_disk_is_named(str(self.partial), "Make room, then run the same command: it goes on."):
            self._stream.write((json_text(value, default=str) + "\n").encode("utf-8", "backslashreplace"))
            self._stream.flush()

    def finish(self, order: Sequence[str]) -> None:
        """Put the answers in their place, in the order of these row ids, which are all of them."""
        with self.partial.open("rb") as lines:
            next(lines)
            places: dict[str, int] = {}
            at = lines.tell()
            while line := lines.readline():
                places[str(json.loads(line)["row_id"])] = at
                at = lines.tell()
            with in_one_step(self._path) as beside, beside.open("wb") as out:
                for row_id in order:
                    lines.seek(places[row_id])
                    out.write(lines.readline())
        self.partial.unlink()


def as_row(example: Example, said: Message) -> dict[str, Any]:
    """An answer as a row of data: the turns that asked with the answer behind them, or raw text and what follows it."""
    row: dict[str, Any] = {"row_id": example.row_id}
    if example.messages:
        row["messages"] = [*map(without_parts, asked(example)[0]), said]
    else:
        row |= {"prompt": example.text, "completion": said["content"]}
    row |= {"tools": list(example.tools)} if example.tools else {}
    return row | ({"columns": example.columns} if example.columns else {})
