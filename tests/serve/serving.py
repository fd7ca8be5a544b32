"""A server as a person starts it: the real command line in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forked import environment

MODEL = "smollm2-135m"
SECONDS = 60


@dataclass
class Served:
    """A server that is ready: its address, and its process."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    def end(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextmanager
def serving(folder: Path, *arguments: str | Path) -> Iterator[Served]:
    """`weitiao serve` at a free port, with these arguments, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "serve.log"
    command = [sys.executable, "-m", "weitiao", "serve", *map(str, arguments), "--port", "0", "--json"]
    paths = os.pathsep.join(path for path in sys.path if path)
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env={**environment(), "PYTHONPATH": paths}, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield Served(json.loads(line)["url"], process, log)
    finally:
        process.kill()
        process.wait(SECONDS)
