"""Judgements on disk: one line of JSON each, appended and on the disk before the next question is asked."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from filelock import FileLock

from weitiao.errors import DataError, RunError
from weitiao.json_text import json_text
from weitiao.records import first_problem, record_of

Choice = Literal["a", "b", "tie"]
Order = Literal["ab", "ba"]

JUDGEMENTS_FILE = "judgements.jsonl"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge says about one pair of answers.

    Attributes:
        item_id: `PreferenceItem.item_id`, which changes with the prompt and with either answer.
        judge: Who says it: `human`, `human:NAME`, or the name of a judge model.
        order: Which answer was shown first: `ab` is that of A.
        choice: The better answer, by its model and not by its place: `a`, `b` or `tie`.
        time: When, in UTC (ISO 8601).
    """

    item_id: str
    judge: str
    order: Order
    choice: Choice
    time: str


def now() -> str:
    """The time of a judgement made now."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class JudgementStore:
    """An append-only file of judgements.

    A later judgement of the same judge, item and order replaces an earlier one, and a withdrawal takes it back; both
    are new lines, so that the file tells the whole story. A line that a killed process left half written at the end is
    removed, or closed if it is whole, before the next one is appended.

    Args:
        path: The file; it and its directory are made with the first judgement.

    Raises:
        DataError: A line that is not the last one is no judgement.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[tuple[str, str, Order], Judgement] = {}
        content = path.read_bytes() if path.exists() else b""
        lines = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            last = number == len(lines)
            if line and not (last and not _is_whole(line)):
                self._take(_parsed(line, path, number))

    def __len__(self) -> int:
        return len(self._found)

    def by(self, judge: str) -> list[Judgement]:
        """The judgements of one judge that stand, in the order in which they were made."""
        return [one for one in self._found.values() if one.judge == judge]

    @property
    def judges(self) -> list[str]:
        """Everyone who judged something, in order of appearance."""
        return list(dict.fromkeys(one.judge for one in self._found.values()))

    def add(self, judgement: Judgement) -> None:
        """Append a judgement; it is on the disk when this returns.

        Raises:
            RunError: The file cannot be written.
        """
        self._append(asdict(judgement))
        self._take(judgement)

    def withdraw(self, judgement: Judgement) -> None:
        """Take a judgement back: its item counts as not judged.

        Raises:
            RunError: The file cannot be written.
        """
        taken_back = {**asdict(replace(judgement, time=now())), "withdrawn": True}
        self._append(taken_back)
        self._take(taken_back)

    def _take(self, one: Judgement | dict[str, Any]) -> None:
        if isinstance(one, dict):
            self._found.pop((one["judge"], one["item_id"], one["order"]), None)
            return
        key = (one.judge, one.item_id, one.order)
        self._found.pop(key, None)  # so that the newest stands last
        self._found[key] = one

    def _append(self, values: dict[str, Any]) -> None:
        line = json_text(values).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock")), self.path.open("a+b") as file:
                _repair(file)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"The judgement cannot be written to {self.path}: {error.strerror or error}.",
                "Make room or fix the permissions there; what was judged before is kept.",
            ) from error


def _repair(file: BinaryIO) -> None:
    """Close or cut off a last line without an end; the lock is held, so nobody is just writing it."""
    if file.tell() == 0 or os.pread(file.fileno(), 1, file.tell() - 1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _is_whole(content[start:]):
        file.write(b"\n")
    else:
        file.truncate(start)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _parsed(line: bytes, path: Path, number: int) -> Judgement | dict[str, Any]:
    """A judgement, or the values of a withdrawal."""
    try:
        values = json.loads(line)
        judgement = record_of(Judgement, values)
    except ValueError as error:
        problem = f"{path}, line {number}: it is no judgement ({first_problem(error)})."
        raise DataError(problem, "Correct or remove that line.") from error
    return values if values.get("withdrawn") else judgement
