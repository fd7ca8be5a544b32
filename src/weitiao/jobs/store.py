"""The queue of jobs in one file of SQLite: what waits, what runs, what came of it. Several processes write to it.

A job is a command of this program. Its truth is the run directory, so a job that died is started again and goes on;
its output is a file. The process of a job claims it (`claim`) before it does anything: of two that were started for
one job, one finds it taken and ends.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from weitiao.errors import RunError
from weitiao.json_text import json_text
from weitiao.sqlite_files import opened
from weitiao.text.wording import Language

State = Literal["waiting", "starting", "running", "done", "failed", "stopped"]
OPEN: tuple[State, ...] = ("waiting", "starting", "running")
"""States of jobs that are not at their end."""

STORE = "jobs.db"
MOST_DEATHS = 2
"""Times that a job is started again after its process was killed, and not stopped by anybody."""

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT NOT NULL, folder TEXT NOT NULL, run_dir TEXT NOT NULL,
    state TEXT NOT NULL, place REAL NOT NULL, submitted TEXT NOT NULL, started TEXT, ended TEXT,
    attempt INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0, pid INTEGER, device TEXT,
    wish TEXT, exit_code INTEGER, language TEXT
)
"""
_ADDED = "ALTER TABLE jobs ADD COLUMN language TEXT"
"""To queues that were begun before jobs had one."""
_COLUMNS = (
    "id, command, folder, run_dir, state, place, submitted, started, ended, attempt, deaths, pid, device, wish, "
    "exit_code, language"
)


class JobError(RunError):
    """There is no such job, or what is asked of it cannot be."""


@dataclass(frozen=True, slots=True)
class Job:
    """A command in the queue.

    Attributes:
        id: Its number, from 1.
        command: The words behind `weitiao`.
        folder: The directory that it runs in.
        run_dir: Of the run that it works on; empty where it has none.
        state: `starting` until its process has claimed it.
        place: In the queue: the lowest is next.
        submitted, started, ended: When, in UTC.
        attempt: How often it was started.
        deaths: How often its process ended by a signal that nobody asked for, since it was submitted or retried.
        pid: Of its process.
        device: What it may use: an index of CUDA, or nothing.
        wish: What is asked of it while it runs: `stop` or `kill`.
        exit_code: 0 done, 1 a bug, 2 the user's input, 3 no, 4 undecided, 130 interrupted, -N killed by signal N.
        language: What it speaks: that of whoever asked for it; None is what the locale says.
    """

    id: int
    command: tuple[str, ...]
    folder: Path
    run_dir: str
    state: State
    place: float
    submitted: str
    started: str | None
    ended: str | None
    attempt: int
    deaths: int
    pid: int | None
    device: str | None
    wish: str | None
    exit_code: int | None
    language: Language | None


class JobStore:
    """Jobs in a directory: the queue, and the output of each job.

    Args:
        home: The directory; made when the first job comes.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.path = home, home / STORE

    def log(self, job: int) -> Path:
        """The file with a job's output."""
        return self.home / "logs" / f"{job}.log"

    def submit(
        self, command: Sequence[str], folder: Path, run_dir: Path | None, language: Language | None = None
    ) -> Job:
        """Put a command at the end of the queue; arguments as in `Job`."""
        run = "" if run_dir is None else str(run_dir.resolve())
        values = (json_text(list(command)), str(folder), run, _now(), language)
        with self._changing() as connection:
            done = connection.execute(
                "INSERT INTO jobs (command, folder, run_dir, state, place, submitted, language) "
                "VALUES (?, ?, ?, 'waiting', (SELECT coalesce(max(place), 0) + 1 FROM jobs), ?, ?)",
                values,
            )
            number = int(done.lastrowid or 0)
        return self.get(number)

    def jobs(self, search: str = "") -> list[Job]:
        """Jobs that run, wait (in their order), and ended (the newest first); those with a text in command or run."""
        rows = self._read(
            f"SELECT {_COLUMNS} FROM jobs WHERE instr(lower(command || ' ' || run_dir), lower(?)) ORDER BY "
            "CASE state WHEN 'running' THEN 0 WHEN 'starting' THEN 0 WHEN 'waiting' THEN 1 ELSE 2 END, "
            "CASE WHEN state = 'waiting' THEN place END, CASE WHEN state != 'waiting' THEN -id END",
            (search,),
        )
        return list(map(_job, rows))

    def last_of(self, run_dir: Path) -> Job | None:
        """The last job that works or worked on a run."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE run_dir = ? ORDER BY id DESC LIMIT 1"
        return next(map(_job, self._read(query, (str(run_dir.resolve()),))), None)

    def busy(self) -> list[Job]:
        """The jobs that have been started and have not ended."""
        return list(map(_job, self._read(f"SELECT {_COLUMNS} FROM jobs WHERE state IN ('starting', 'running')", ())))

    def get(self, number: int) -> Job:
        """One job.

        Raises:
            JobError: There is none of this number.
        """
        rows = self._read(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (number,))
        if not rows:
            raise JobError(f"There is no job {number}.", "See them with: weitiao jobs")
        return _job(rows[0])

    def start_next(self, device: str) -> Job | None:
        """Mark the next waiting job as starting on a device; None where nothing waits."""
        with self._changing() as connection:
            row = connection.execute("SELECT id FROM jobs WHERE state = 'waiting' ORDER BY place LIMIT 1").fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE jobs SET state = 'starting', attempt = attempt + 1, device = ?, started = ?, ended = NULL, "
                "exit_code = NULL, pid = NULL, wish = NULL WHERE id = ?",
                (device, _now(), row[0]),
            )
        return self.get(row[0])

    def claim(self, number: int, attempt: int, pid: int) -> Job | None:
        """Make a job that of a process; None when it was taken, or started anew since."""
        with self._changing() as connection:
            done = connection.execute(
                "UPDATE jobs SET state = 'running', pid = ? WHERE id = ? AND attempt = ? AND state = 'starting'",
                (pid, number, attempt),
            )
            if not done.rowcount:
                return None
        return self.get(number)

    def end(self, job: Job, state: State, exit_code: int | None) -> None:
        """Say how an attempt of a job ended; nothing where another one has begun."""
        self._change(
            "UPDATE jobs SET state = ?, exit_code = ?, ended = ?, pid = NULL, wish = NULL "
            "WHERE id = ? AND attempt = ? AND state IN ('starting', 'running')",
            (state, exit_code, _now(), job.id, job.attempt),
        )

    def again(self, job: Job) -> None:
        """Let a job whose process is gone wait in its old place: it goes on where it stood."""
        self._change(
            "UPDATE jobs SET state = 'waiting', deaths = deaths + 1, pid = NULL, wish = NULL "
            "WHERE id = ? AND attempt = ? AND state = ? AND pid IS ?",  # it may have been claimed since it was read
            (job.id, job.attempt, job.state, job.pid),
        )

    def retry(self, number: int) -> Job:
        """Let a job that ended wait again, at the end of the queue.

        Raises:
            JobError: It has not ended.
        """
        if self.get(number).state in OPEN:
            raise JobError(f"Job {number} has not ended.", f"Stop it first: weitiao job stop {number}")
        self._change(
            "UPDATE jobs SET state = 'waiting', deaths = 0, place = (SELECT max(place) + 1 FROM jobs) WHERE id = ?",
            (number,),
        )
        return self.get(number)

    def stop(self, number: int, *, kill: bool = False) -> Job:
        """Ask a job to stop: one that waits has stopped at once, one that runs saves what it has, unless it is killed.

        Raises:
            JobError: It has ended.
        """
        with self._changing() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'stopped', ended = ? WHERE id = ? AND state = 'waiting'", (_now(), number)
            )
            wish = "kill" if kill else "stop"
            connection.execute(
                "UPDATE jobs SET wish = ? WHERE id = ? AND state IN ('starting', 'running')", (wish, number)
            )
        job = self.get(number)
        if job.state in ("done", "failed"):
            raise JobError(f"Job {number} has ended.", f"Start it again with: weitiao job retry {number}")
        return job

    def move(self, number: int, *, before: int | None) -> Job:
        """Put a job that waits before another one, or to the front of the queue.

        Raises:
            JobError: One of them does not wait.
        """
        with self._changing() as connection:
            rows = connection.execute("SELECT id, place FROM jobs WHERE state = 'waiting' ORDER BY place").fetchall()
            places = {one: place for one, place in rows if one != number}
            if number not in dict(rows) or (before is not None and before not in places):
                raise JobError("Only jobs that wait have a place in the queue.", "See them with: weitiao jobs")
            order = list(places)
            at = order.index(before) if before is not None else 0
            after = places[order[at]] if order else 0.0
            previous = places[order[at - 1]] if at else after - 2
            connection.execute("UPDATE jobs SET place = ? WHERE id = ?", ((previous + after) / 2, number))
        return self.get(number)

    def _read(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        with self._opened() as connection:
            return connection.execute(query, values).fetchall()

    def _change(self, statement: str, values: Sequence[Any]) -> None:
        with self._changing() as connection:
            connection.execute(statement, values)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """All statements of the block as one, or none of them."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(f"{self.home} cannot be made: {error.strerror}.", "Choose another --home.") from error
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with opened(self.path) as connection:
                connection.execute(_TABLE)
                if all(name != "language" for _, name, *_ in connection.execute("PRAGMA table_info(jobs)")):
                    with suppress(sqlite3.OperationalError):  # another process was faster
                        connection.execute(_ADDED)
                yield connection
        except sqlite3.Error as error:
            raise JobError(
                f"The queue in {self.path} cannot be used: {error}.", "Make room there, or choose another --home."
            ) from error


def _job(row: Sequence[Any]) -> Job:
    number, command, folder, *rest = row
    return Job(number, tuple(json.loads(command)), Path(folder), *rest)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
