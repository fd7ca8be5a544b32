"""Python processes that start at once: forked from one that has imported everything.

`server().call` runs the command line so; `server().python` is a `python` for whatever starts processes itself. In a
process that was forked it is `sys.executable`, so that the processes which that one starts are forked as well.

As a script: forks what `forking` asks for at a Unix socket, until its standard input ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import multiprocessing
import os
import resource
import runpy
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from forking import STREAMS, fork

SECONDS = 300
_MOST_FILES = 250
_MOST_BYTES = 4000
"""Of a command that others are to see."""


def environment() -> dict[str, str]:
    """The environment of a command: one thread, so that tests side by side do not slow each other down."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}


@dataclass
class Done:
    """A call that has ended; the exit code is negative for a signal."""

    returncode: int
    stdout: str
    stderr: str


class Forks:
    """Forks processes until this one ends.

    Attributes:
        python: A `python` whose processes are forked.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="forks-")
        self._address = str(Path(self._directory.name, "socket"))
        self.python = Path(self._directory.name, "python")
        light = Path(__file__).with_name("forking.py")
        self.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{light}" "{self._address}" "$@"\n')
        self.python.chmod(0o755)
        paths = os.pathsep.join(path for path in sys.path if path)
        self._server = subprocess.Popen(
            [sys.executable, __file__, self._address, self.python, "-" * _MOST_BYTES],
            env={**environment(), "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline(), "the process that forks did not start"

    def call(
        self,
        *arguments: str | Path,
        ranks: int = 1,
        encoding: str = "utf-8",
        cwd: Path | None = None,
        stdin: str | None = None,
        terminal: str | None = None,
        meanwhile: Callable[[int], None] = lambda pid: None,
    ) -> Done:
        """Run the command line to its end.

        Args:
            arguments: As typed.
            ranks: Processes that compute together, by gloo.
            encoding: Of stdout and stderr.
            cwd: The current directory, that of the tests if none.
            stdin: What it reads.
            terminal: The device of a terminal that it reads from and prints to, and that is its own: Ctrl-C reaches it.
            meanwhile: Is called with the process id while it runs. If it fails, the process is killed.
        """
        words = ["-m", "weitiao", *map(str, arguments)]
        with ExitStack() as held:
            streams = [held.enter_context(tempfile.TemporaryFile()) for _ in STREAMS]
            streams[0].write((stdin or "").encode())
            streams[0].seek(0)
            files = {} if terminal else {number: one.fileno() for number, one in enumerate(streams)}
            processes = [
                fork(
                    self._address, words, {**environment(), **rank, **({"TERM": "xterm"} if terminal else {})}, files,
                    cwd=str(cwd or Path.cwd()), seconds=SECONDS, encoding=encoding, terminal=terminal,
                )
                for rank in _ranks(ranks)
            ]  # fmt: skip
            for one in processes:
                held.callback(one.close)
            meanwhile(processes[0].pid)
            code = next(filter(None, [one.wait() for one in processes]), 0)
            for one in streams:
                one.seek(0)
            return Done(code, *(TextIOWrapper(one, encoding=encoding).read() for one in streams[1:]))


@cache
def server() -> Forks:
    """The one process that all tests of a worker fork from."""
    return Forks()


def _free_port() -> int:
    """A port below those that the system gives to others, who might take it before the first rank listens there."""
    with socket.socket() as free:
        while True:
            with suppress(OSError):
                free.bind(("127.0.0.1", 20_000 + secrets.randbelow(10_000)))
                return int(free.getsockname()[1])


def _ranks(number: int) -> list[dict[str, str]]:
    """What torchrun tells each of so many processes."""
    if number == 1:
        return [{}]
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(number)}
    together["LOCAL_WORLD_SIZE"] = str(number)
    return [{**together, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]


def _import_everything() -> None:
    """What processes would import only when they come to it is imported once."""
    import ftfy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import scipy.stats  # noqa: F401

    import weitiao.cli.main
    import weitiao.export.torch_engine
    import weitiao.study.export
    import weitiao.study.pipeline.run
    import weitiao.study.plan  # noqa: F401


def serve(address: str) -> dict[str, Any]:
    """Fork what is asked for, until standard input ends; returns in each forked process, with what was asked.

    Who asked is told the number of the process and then how it ended; when nobody listens any more, it is killed.
    """
    _import_everything()
    gc.freeze()  # pages that no collection writes to stay shared
    listener, waiting = socket.socket(socket.AF_UNIX), select.poll()
    listener.bind(address)
    listener.listen(64)
    connections: dict[int, socket.socket] = {}
    processes: dict[int, tuple[int, int]] = {}  # by the descriptor that tells of its end: its number, its connection
    for one in (0, listener.fileno()):
        waiting.register(one, select.POLLIN)
    print("ready", flush=True)
    while 0 not in (ready := dict(waiting.poll())):
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            _, files, _, _ = socket.recv_fds(connection, 1, _MOST_FILES)
            call: dict[str, Any] = json.loads(connection.makefile(encoding="utf-8").readline())
            if (pid := os.fork()) == 0:
                for held in (listener, connection, *connections.values()):
                    os.close(held.detach())
                return {**call, "files": files}
            for file in files:
                os.close(file)
            connection.sendall(f"{pid}\n".encode())
            connections[connection.fileno()] = connection
            processes[os.pidfd_open(pid)] = pid, connection.fileno()
            for number in (connection.fileno(), *processes):
                waiting.register(number, select.POLLIN)
        for ended in processes.keys() & ready.keys():
            pid, number = processes.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(OSError):
                connections[number].sendall(f"{code}\n".encode())
            for one in (ended, number):
                waiting.unregister(one)
            os.close(ended)
            connections.pop(number).close()
        for pid, number in processes.values():
            if number in ready:
                os.kill(pid, signal.SIGKILL)
    sys.exit()


def be_seen_as(words: Sequence[str]) -> None:
    """Be listed with these words at the end, where this process was called with a long one: jobs are known by them."""
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])  # see proc(5)
    seen = "\0".join(["", *words, ""]).encode()
    if len(seen) < end - begin:
        ctypes.memmove(begin, seen.rjust(end - begin, b"-"), end - begin)


def become(call: dict[str, Any], python: str) -> None:
    """Turn this process into what was asked for."""
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["environment"])
    if call["own_session"] or call["terminal"]:
        os.setsid()  # a terminal that is opened next becomes its own
    taken = call["files"]
    if call["terminal"]:
        call["numbers"], taken = STREAMS, [os.open(call["terminal"], os.O_RDWR) for _ in STREAMS]
    aside = [fcntl.fcntl(one, fcntl.F_DUPFD, 2 * _MOST_FILES) for one in taken]
    for one in taken:
        os.close(one)
    for number, one in zip(call["numbers"], aside, strict=True):
        os.dup2(one, number)
        os.close(one)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it is open as long as the process runs
    sys.stdout, sys.stderr = (
        open(number, "w", encoding=call["encoding"], errors="strict", closefd=False,  # noqa: SIM115
             buffering=1 if number == 2 or os.isatty(number) else -1)
        for number in (1, 2)
    )  # fmt: skip
    resource.setrlimit(resource.RLIMIT_FSIZE, tuple(call["file_size"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(call["seconds"])
    be_seen_as(call["words"])
    sys.executable = python
    multiprocessing.set_executable(python)


def run(words: Sequence[str]) -> None:
    """Do what `python` with these words does."""
    while words[0] not in ("-c", "-m") and words[0].startswith("-"):
        words = words[1:]  # a switch of the interpreter, such as -u
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [str(Path.cwd()), *paths, *(path for path in sys.path[1:] if path not in paths)]
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(words[1], main.__dict__)
    else:
        sys.path[0] = str(Path(words[0]).parent)
        sys.argv = list(words)
        runpy.run_path(words[0], run_name="__main__")


def live(call: dict[str, Any], python: str) -> NoReturn:
    """Be what was asked for, and end as an interpreter does, without taking apart what it holds."""
    become(call, python)
    code: object = 0
    try:
        run(call["words"])
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads any more, or it was closed
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    live(serve(sys.argv[1]), sys.argv[2])
