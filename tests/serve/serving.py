"""A server as a person starts it: the real command line in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forked import environment, server
from workbench import command

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
    words = command("serve", *arguments, "--port", "0", "--json", python=server().python)
    with log.open("w") as errors:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, env=environment(), text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield Served(json.loads(line)["url"], process, log)
    finally:
        process.kill()
        process.wait(SECONDS)
