"""The real command line in processes of their own, forked from one that has imported everything: each starts at once.

As a script: reads one call per line (JSON: arguments, encoding and files of stdout and stderr), forks it, and prints
its process id, then its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workbench import environment


@dataclass
class Done:
    """A call that has ended; the exit code is negative for a signal."""

    returncode: int
    stdout: str
    stderr: str


class Forks:
    """Calls of the command line, one after the other.

    Args:
        directory: For what they print.
    """

    def __init__(self, directory: Path) -> None:
        self._files = directory / "stdout", directory / "stderr"
        words = [sys.executable, __file__]
        paths = os.pathsep.join(path for path in sys.path if path)
        self._server = subprocess.Popen(
            words, env={**environment(), "PYTHONPATH": paths}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def call(
        self, *arguments: str | Path, encoding: str = "utf-8", meanwhile: Callable[[int], None] = lambda pid: None
    ) -> Done:
        """Call the command line.

        Args:
            arguments: As typed.
            encoding: Of stdout and stderr.
            meanwhile: Is called with the process id while it runs.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([list(map(str, arguments)), encoding, *map(str, self._files)]) + "\n")
        self._server.stdin.flush()
        meanwhile(int(self._server.stdout.readline()))
        code = int(self._server.stdout.readline())
        return Done(code, *(file.read_text(encoding=encoding) for file in self._files))

    def close(self) -> None:
        """End the process that forks."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)


def serve() -> None:
    """Fork calls until stdin ends."""
    import weitiao.study.pipeline.run  # noqa: F401
    from weitiao.cli.main import main

    for line in sys.stdin:
        arguments, encoding, stdout, stderr = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # stdin has the calls to come
            for number, path in ((1, stdout), (2, stderr)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(encoding=encoding, errors="strict")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.argv = ["weitiao", *arguments]
            code: object = 1
            try:
                main()
            except SystemExit as end:
                code = end.code
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
