"""Starts the jobs of a queue, one at a time for each device, and sees to it that each comes to its end.

A job is a process in a session of its own: it outlives the worker, and the next worker finds it by its number and
command. So whatever is killed, the queue goes on where it stood.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from weitiao.files import LOCK_SECONDS, is_locked
from weitiao.jobs.store import MOST_DEATHS, Job, JobError, JobStore

LOCK = "worker.lock"
POLL_SECONDS = 0.2
LINGER_SECONDS = 30.0
INTERRUPTED = 130
_STARTING_SECONDS = 0.5
"""How long a process may be without words while it starts; threads of the kernel never have any."""


def work(home: Path, *, devices: Sequence[str] = ("",), linger: float = LINGER_SECONDS) -> None:
    """Do jobs until none waits or runs for a while. One worker for each queue.

    Args:
        home: Of the queue.
        devices: What jobs may use, one job each: indices of CUDA devices, or nothing.
        linger: Seconds without a job after which it ends.

    Raises:
        JobError: Another worker has the queue.
    """
    store = JobStore(home)
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / LOCK)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise JobError("Another worker does the jobs of this queue.", "Leave them to it: weitiao jobs") from error
    with lock:
        _Worker(store, devices).run(linger)


def is_working(home: Path) -> bool:
    """Whether a worker has the queue."""
    return is_locked(home / LOCK)


def ensure_worker(home: Path) -> None:
    """Start a worker that outlives this process, if there is none."""
    if not is_working(home):
        home.mkdir(parents=True, exist_ok=True)
        with (home / "worker.log").open("ab") as log:
            _spawn([sys.executable, "-m", "weitiao", "work", "--home", str(home)], Path.home(), log.fileno(), {})


def claimed(home: Path, number: int, attempt: int) -> tuple[str, ...] | None:
    """Make a job this process's: what it is to do, or None where the job is another's."""
    job = JobStore(home).claim(number, attempt, os.getpid())
    if job is None:
        return None
    return job.command if job.language is None else ("--language", job.language, *job.command)


def lives(pid: int, words: Sequence[str]) -> bool:
    """Whether a process is there and is still the one whose command ends so.

    Numbers of processes come again; and times of birth move when the clock is set, after a sleep of the machine say.
    One that has just been started may have no words yet: `execve` takes the old ones away before it puts the new there.
    """
    with suppress(psutil.Error):
        until = time.monotonic() + _STARTING_SECONDS
        while not (found := psutil.Process(pid).cmdline()) and time.monotonic() < until:
            time.sleep(0.005)
        return list(found[-len(words) :]) == list(words)
    return False


class _Worker:
    def __init__(self, store: JobStore, devices: Sequence[str]) -> None:
        self._store, self._devices = store, devices
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._asked: set[tuple[int, int, str]] = set()
        self._stopped: set[tuple[int, int]] = set()

    def run(self, linger: float) -> None:
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < linger:
            running = [job for job in self._store.busy() if not self._has_ended(job)]
            used = {job.device for job in running}
            started = [self._start(device) for device in self._devices if device not in used]
            if running or any(started):
                idle_since = time.monotonic()
            time.sleep(POLL_SECONDS)

    def _start(self, device: str) -> bool:
        job = self._store.start_next(device)
        if job is None:
            return False
        log = self._store.log(job.id)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "weitiao", *_words(self._store.home, job)]
        environment = {"COLUMNS": "100", **({"CUDA_VISIBLE_DEVICES": device} if device else {})}
        folder = job.folder if job.folder.is_dir() else self._store.home
        with log.open("ab") as stream:
            self._children[job.id] = _spawn(command, folder, stream.fileno(), environment)
        return True

    def _has_ended(self, job: Job) -> bool:
        """Whether a job's process is gone; what came of it is then in the store."""
        child = self._children.get(job.id)
        code = None if child is None else child.poll()
        if code is None and (child is not None or self._lives(job)):
            self._fulfil(job)
            return False
        self._children.pop(job.id, None)
        wanted = job.wish is not None or (job.id, job.attempt) in self._stopped
        if code in (1, 2):
            self._store.end(job, "failed", code)
        elif wanted or code == INTERRUPTED:
            self._store.end(job, "stopped", code)
        elif code is not None and code >= 0:
            self._store.end(job, "done", code)
        elif job.deaths >= MOST_DEATHS:
            self._store.end(job, "failed", code)
        else:  # killed, or ended while no worker looked: the same command goes on, or finds that all is done
            self._store.again(job)
        return True

    def _lives(self, job: Job) -> bool:
        """Whether a process that another worker started is still there."""
        if job.pid is None:  # nothing claimed it yet, and nothing will once it has another attempt
            return False
        return lives(job.pid, _words(self._store.home, job))

    def _fulfil(self, job: Job) -> None:
        """Do what is asked of a job: once each, since a second interrupt would not let it save."""
        if job.wish is None or job.pid is None or (asked := (job.id, job.attempt, job.wish)) in self._asked:
            return
        self._asked.add(asked)
        self._stopped.add((job.id, job.attempt))
        with suppress(ProcessLookupError):
            os.kill(job.pid, signal.SIGKILL if job.wish == "kill" else signal.SIGINT)


def _words(home: Path, job: Job) -> list[str]:
    """What the process of a job is called with."""
    return ["_job", str(home.resolve()), str(job.id), str(job.attempt)]


def _spawn(command: list[str], folder: Path, log: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process in a session of its own, whose output goes to a file that is never full."""
    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, **environment},
    )  # fmt: skip
