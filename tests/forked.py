"""The real command line in processes of their own, forked from one that has imported everything: each starts at once.

As a script: reads one call per line (JSON: `arguments`, `ranks`, `encoding`, `cwd`, `environment`, and the files of
`stdin`, `stdout` and `stderr`, which may be a terminal), forks it, and prints its process id, then its exit status.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SECONDS = 300


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
    """Calls of the command line, one after the other. The process that forks ends with this one."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="forks-")
        words = [sys.executable, __file__]
        paths = os.pathsep.join(path for path in sys.path if path)
        self._server = subprocess.Popen(
            words, env={**environment(), "PYTHONPATH": paths}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

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
        """Call the command line.

        Args:
            arguments: As typed.
            ranks: Processes that compute together, by gloo.
            encoding: Of stdout and stderr.
            cwd: The current directory, that of the tests if none.
            stdin: What it reads.
            terminal: The device of a terminal that it reads from and prints to, and that is its own: Ctrl-C reaches it.
            meanwhile: Is called with the process id while it runs. If it fails, the process is killed.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        files = {name: Path(self._directory.name, name) for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin or "", encoding="utf-8")
        call = {
            "arguments": list(map(str, arguments)),
            "ranks": ranks,
            "encoding": encoding,
            "cwd": str(cwd or Path.cwd()),
            "environment": environment() if terminal is None else {**environment(), "TERM": "xterm"},
            "terminal": terminal is not None,
            **{name: terminal or str(file) for name, file in files.items()},
        }
        self._server.stdin.write(json.dumps(call) + "\n")
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        try:
            meanwhile(pid)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._server.stdout.readline()  # so that the next call reads its own exit status
            raise
        code = int(self._server.stdout.readline())
        if terminal is not None:
            return Done(code, "", "")
        return Done(code, *(files[name].read_text(encoding=encoding) for name in ("stdout", "stderr")))


@cache
def server() -> Forks:
    """The one process that all tests of a worker fork from."""
    return Forks()


def fork_ranks(number: int) -> list[int]:
    """Make this process the first of so many ranks, as torchrun would; the process ids of the others, in the first."""
    if number == 1:
        return []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "RANK": "0", "LOCAL_RANK": "0"}
    others = []
    for rank in range(1, number):
        if (pid := os.fork()) == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            return []
        others.append(pid)
    return others


def serve() -> None:
    """Fork calls until stdin ends."""
    # what commands import only when they come to it is imported once here instead of in every call
    import ftfy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import scipy.stats  # noqa: F401

    import weitiao.study.pipeline.run
    import weitiao.study.plan  # noqa: F401
    from weitiao.cli.main import main

    for line in sys.stdin:
        call = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.chdir(call["cwd"])
            os.environ.clear()
            os.environ.update(call["environment"])
            others = fork_ranks(call["ranks"])
            if call["terminal"]:
                os.setsid()  # the terminal that is opened next becomes that of this process
            os.dup2(os.open(call["stdin"], os.O_RDONLY), 0)
            sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - without what was read ahead of calls
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(call[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            if call["terminal"]:  # no file, which the streams take it for that were opened for this process
                sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding=call["encoding"]) for number in (1, 2))
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(encoding=call["encoding"], errors="strict")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.alarm(SECONDS)  # ends a call that hangs
            sys.argv = ["weitiao", *call["arguments"]]
            code: object = 1
            try:
                main()
            except SystemExit as end:
                code = end.code
            sys.stdout.flush()
            sys.stderr.flush()
            codes = [os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) for other in others]
            os._exit(next(filter(None, codes), code if isinstance(code, int) else 0))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
