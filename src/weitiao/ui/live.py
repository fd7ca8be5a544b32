"""A run while it goes on: its metrics as they are written, thinned out for a drawing, and a stream of what is new."""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

from pydantic_core import from_json

POLL_SECONDS = 0.5
ALIVE_SECONDS = 15.0
_AT_ONCE = 2**16
_NUMBERS = ("loss", "learning_rate", "grad_norm", "memory_gib", "tokens_per_second", "seconds", "reward", "kl")


@dataclass(slots=True)
class Table:
    """Numbers of many steps: 4 bytes each, and 4 for the step, which all columns share.

    Attributes:
        steps: In order.
        columns: By name; NaN where a line lacks the number, and shorter where the last lines do.
    """

    steps: array[int] = field(default_factory=lambda: array("I"))
    columns: dict[str, array[float]] = field(default_factory=dict)

    def add(self, steps: Iterable[int], columns: Mapping[str, Sequence[float | None]]) -> None:
        """Put lines below those that are there."""
        for name, values in columns.items():
            column = self.columns.setdefault(name, array("f"))
            column.extend([math.nan] * (len(self.steps) - len(column)))
            column.extend(array("f", [math.nan if value is None else value for value in values]))
        self.steps.extend(array("I", steps))

    def drawn(self, name: str, points: int) -> dict[str, list[float]]:
        """A column with at most so many points: `x`, `low`, `middle`, `high`."""
        from weitiao.report.charts.drawings import thinned

        column = self.columns[name]
        joined = thinned(self.steps[: len(column)], column, points)
        return {key: [_short(getattr(one, key)) for one in joined] for key in ("x", "low", "middle", "high")}


@dataclass(slots=True)
class Metrics:
    """The lines of a `metrics.jsonl`, read on from where the last look ended.

    Attributes:
        path: The file.
        offset: Bytes that were read.
        train: The numbers of steps; `loss:SOURCE` for the loss of a source of rows.
        validation: Those of validations.
        last: The last line about a step.
    """

    path: Path
    offset: int = 0
    train: Table = field(default_factory=Table)
    validation: Table = field(default_factory=Table)
    last: dict[str, Any] = field(default_factory=dict)
    identity: tuple[int, int] = (0, 0)

    def refresh(self) -> None:
        """Read what was appended; begin anew where the file is another one (a resumed run shortens it)."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._forget()
            return
        identity = (stat.st_dev, stat.st_ino)
        if identity != self.identity or stat.st_size < self.offset:
            self._forget()
            self.identity = identity
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while lines := file.readlines(_AT_ONCE):
                whole = lines if lines[-1].endswith(b"\n") else lines[:-1]
                for _, alike in groupby(map(from_json, whole), key=dict.keys):
                    self._take(list(alike))
                self.offset += sum(map(len, whole))
                if whole is not lines:
                    break

    def _forget(self) -> None:
        self.offset, self.train, self.validation, self.last = 0, Table(), Table(), {}

    def _take(self, lines: list[dict[str, Any]]) -> None:
        """Lines that have the same names."""
        first, steps = lines[0], (line["step"] for line in lines)
        if "loss" in first:
            self.last = lines[-1]
            columns = {name: [line[name] for line in lines] for name in _NUMBERS if name in first}
            sources = [line["sources"] for line in lines] if "sources" in first else []
            for source in dict.fromkeys(name for one in sources for name in one):
                columns[f"loss:{source}"] = [one.get(source, {}).get("loss") for one in sources]
            self.train.add(steps, columns)
        elif "validation_loss" in first:
            names = [name for name in first if name.startswith("validation_")]
            columns = {name.removeprefix("validation_"): [line[name] for line in lines] for name in names}
            self.validation.add(steps, columns)

    def drawn(self, names: Sequence[str], points: int) -> dict[str, Any]:
        """Series with at most so many points each: `x`, `low`, `middle`, `high`; no extreme is lost.

        Args:
            names: Of the series, `loss:` for the losses of all sources; all of them where none is named.
            points: Of each, at most.
        """
        return {
            "offset": self.offset,
            "train": {
                name: self.train.drawn(name, points)
                for name in self.train.columns
                if not names or name in names or f"{name.partition(':')[0]}:" in names
            },
            "validation": {name: self.validation.drawn(name, points) for name in self.validation.columns},
            "last": self.last,
        }


def _short(value: float) -> float:
    """Six digits are more than a drawing shows."""
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0


async def events(path: Path, offset: int, log: Path | None, log_offset: int, *, ending: Event) -> AsyncIterator[str]:
    """Server-sent events of a run: `step` and `validation` lines as they stand in the file, and `log` texts.

    The id of each event is the byte that the next one begins at, so a browser that lost the line goes on where it was
    and misses nothing. `restart` is sent where the file was shortened: what was drawn is to be asked for again.

    Args:
        path: The `metrics.jsonl`.
        offset: The byte to begin at.
        log: What the job of the run prints, if it has one.
        log_offset: The byte of it to begin at.
        ending: Set when no more shall come.
    """
    quiet = 0.0
    yield f"retry: 1000\nid: {offset}.{log_offset}\n\n"
    while not ending.is_set():
        sent = False
        size = path.stat().st_size if path.is_file() else 0
        if size < offset:
            offset = 0
            yield f"id: 0.{log_offset}\nevent: restart\ndata: {{}}\n\n"
        if size > offset:
            data = _read(path, offset)
            lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
            for line in lines:
                offset += len(line)
                kind = "validation" if b'"validation_loss"' in line else "step"
                yield f"id: {offset}.{log_offset}\nevent: {kind}\ndata: {line.decode('utf-8', 'replace').rstrip()}\n\n"
            sent = bool(lines)
        if log is not None and log.is_file() and log.stat().st_size > log_offset:
            data = _read(log, log_offset)
            log_offset += len(data)
            text = json.dumps({"text": data.decode("utf-8", "replace")})
            yield f"id: {offset}.{log_offset}\nevent: log\ndata: {text}\n\n"
            sent = True
        quiet = 0.0 if sent else quiet + POLL_SECONDS
        if quiet >= ALIVE_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(2**20)
