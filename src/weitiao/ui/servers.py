"""Servers of models that the pages start: `weitiao serve` in a process of its own, which outlives the pages.

What is known of each lies in a file, so a page server that begins finds those of before again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from weitiao.files import in_one_step, write_json
from weitiao.jobs.worker import lives
from weitiao.ui.problems import NotFoundError

IDLE_SECONDS = 1800.0
_SAID = 2000
State = Literal["loading", "ready", "ended"]


@dataclass(frozen=True, slots=True)
class Server:
    """A server of models.

    Attributes:
        id: Its name here.
        targets: What it was asked to serve, as the command line says it.
        options: Further words of the command.
        folder: Where it runs.
        is_lasting: Whether it goes on when nobody asks it anything.
        pid, born: Its process, and when that began, in seconds since 1970.
    """

    id: str
    targets: tuple[str, ...]
    options: tuple[str, ...]
    folder: str
    is_lasting: bool
    pid: int
    born: float

    @property
    def command(self) -> str:
        """As a person would type it."""
        return " ".join(["weitiao", "serve", *self.targets, *self.options])


class Servers:
    """The servers of a queue's folder.

    Args:
        home: The folder; what is known of servers lies in `servers/` there.
    """

    def __init__(self, home: Path) -> None:
        self._home = home / "servers"

    def all(self) -> list[Server]:
        """Those that are there, also while they load or after they failed; the newest first."""
        found = [self._read(path) for path in self._home.glob("*.json")]
        return sorted((one for one in found if one is not None), key=lambda one: one.born, reverse=True)

    def get(self, name: str) -> Server:
        """One of them.

        Raises:
            UiError: There is none.
        """
        path = self._home / f"{name}.json"
        found = self._read(path) if name.isalnum() else None
        if found is None:
            raise NotFoundError(f"There is no server {name}.")
        return found

    def start(
        self, targets: Sequence[str], folder: Path, *, options: Sequence[str] = (), is_lasting: bool = False
    ) -> Server:
        """Start one; it is ready some seconds later (`facts`).

        Args:
            targets: Runs, adapters, models, GGUF files; `NAME=TARGET` gives a name.
            folder: In which they are looked up.
            options: Further words of `weitiao serve`.
            is_lasting: Whether it stays when nobody asks it anything for half an hour.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        name = secrets.token_hex(4)
        command = [sys.executable, "-m", "weitiao", *_words(targets, options)]
        with self._out(name).open("wb") as out, self._log(name).open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True,
                env={**os.environ, "COLUMNS": "100"},
            )  # fmt: skip
        server = Server(name, tuple(targets), tuple(options), str(folder), is_lasting, process.pid, time.time())
        write_json(self._home / f"{name}.json", asdict(server))
        return server

    def template(self, text: str) -> Path:
        """A chat template as a file that `--template` takes: other texts are other files, and so other servers."""
        path = self._home / "templates" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jinja"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with in_one_step(path) as beside:  # a server may be reading it
                beside.write_text(text, encoding="utf-8")
        return path

    def facts(self, server: Server) -> dict[str, Any]:
        """How it stands: `state`, `url` and `models` of one that is ready, `said` of one that ended by itself."""
        ready = self._ready(server)
        alive = self._lives(server)
        state: State = "ended" if not alive else "ready" if ready else "loading"
        return {
            "id": server.id, "targets": server.targets, "command": server.command, "is_lasting": server.is_lasting,
            "state": state, "url": ready.get("url") if alive else None, "models": ready.get("models", []),
            "said": "" if alive else self._said(server.id),
        }  # fmt: skip

    def url(self, server: Server) -> str | None:
        """Where it answers; None while it loads and after it ended."""
        return self._ready(server).get("url") if self._lives(server) else None

    def used(self, server: Server) -> None:
        """Somebody asked it something just now."""
        with suppress(FileNotFoundError):
            os.utime(self._home / f"{server.id}.json")

    def stop(self, server: Server) -> None:
        """Let it finish its answers and end; what is known of it goes."""
        if self._lives(server):
            with suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGTERM)
        for path in (self._home / f"{server.id}.json", self._out(server.id), self._log(server.id)):
            path.unlink(missing_ok=True)

    def stop_idle(self) -> None:
        """Stop those that nobody asked anything for a while, unless they are to stay."""
        for server in self.all():
            with suppress(FileNotFoundError):
                changed = (self._home / f"{server.id}.json").stat().st_mtime
                if not server.is_lasting and time.time() - changed > IDLE_SECONDS:
                    self.stop(server)

    def _lives(self, server: Server) -> bool:
        return lives(server.pid, _words(server.targets, server.options))

    def _ready(self, server: Server) -> dict[str, Any]:
        try:
            values = json.loads(self._out(server.id).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not yet, or only half of it
            return {}
        return values if isinstance(values, dict) else {}

    def _read(self, path: Path) -> Server | None:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # stopped meanwhile
            return None
        return Server(**{**values, "targets": tuple(values["targets"]), "options": tuple(values["options"])})

    def _said(self, name: str) -> str:
        try:
            return self._log(name).read_text(encoding="utf-8", errors="replace")[-_SAID:].strip()
        except OSError:
            return ""

    def _out(self, name: str) -> Path:
        return self._home / f"{name}.out"

    def _log(self, name: str) -> Path:
        return self._home / f"{name}.log"


def _words(targets: Sequence[str], options: Sequence[str]) -> list[str]:
    """What the process of a server is called with."""
    port = () if "--port" in options else ("--port", "0")
    return ["serve", *targets, *options, *port, "--json"]
