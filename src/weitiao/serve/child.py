"""An engine of another program in a process of its own, which speaks HTTP: its crash is not the server's."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from weitiao.errors import WeitiaoError
from weitiao.serve.engine import RequestError, ServeError

if TYPE_CHECKING:
    import httpx2

_LOOK_SECONDS = 0.05
_END_SECONDS = 5.0
_LAST_LINES = 4000
"""Characters of what a process printed that are looked through for why it ended."""


class ChildServer:
    """Starts a server, starts it again when it has died, and asks it.

    The process ends with this one: it is told to end when its standard input does.

    Args:
        name: What errors call it.
        command: The program and its arguments.
        environment: Of the process.
        log: Where it prints.
        port: Where it listens, on this machine.
        key: Sent with every request as a bearer token.
        told: A line that it gets on its standard input: what is not to be seen in the list of processes.
        patience: Seconds until it has to be ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        port: int,
        key: str,
        told: str = "",
        patience: float = 120.0,
    ) -> None:
        import httpx2

        self._name, self._command, self._environment, self._log = name, list(command), dict(environment), log
        self._told, self._patience = told, patience
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._refused: WeitiaoError | None = None
        # A connection for each request: one that the server has just closed would fail the next.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        # (Through a Unix socket, anyio logs an InvalidStateError now and then where a request is broken off.)
        self._client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            limits=limits,
            timeout=httpx2.Timeout(None, connect=10.0),
            trust_env=False,
        )
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ServeError: It ended, or did not become ready in time.
        """
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    async def post(self, path: str, body: Mapping[str, Any]) -> str:
        """Ask for something that comes at once.

        Raises:
            ServeError: The server died or refuses.
        """
        import httpx2

        await self._wait()
        try:
            reply = await self._client.post(path, json=body)
        except httpx2.HTTPError as error:
            raise self._died() from error
        if reply.status_code != 200:
            raise self._refuses(reply.status_code, reply.text)
        return str(reply.text)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """The events of a streaming request as JSON; whoever stops reading breaks the request off.

        Raises:
            ServeError: The server died in the middle, or refuses. Where it died before the first event, the request is
                sent once more.
        """
        import httpx2

        for attempt in range(2):
            await self._wait()
            begun = False
            try:
                async with (
                    self._client.stream("POST", path, json=body) as reply,
                    aclosing(self._events(reply)) as events,
                ):
                    async for event in events:
                        begun = True
                        yield event
                return
            except httpx2.HTTPError as error:
                if begun or attempt:
                    raise self._died() from error
                await self._noticed()

    async def _events(self, reply: httpx2.Response) -> AsyncGenerator[Any, None]:
        if reply.status_code != 200:
            raise self._refuses(reply.status_code, (await reply.aread()).decode("utf-8", "replace"))
        async for line in reply.aiter_lines():
            if line.startswith("data:") and (text := line[5:].strip()) != "[DONE]":
                yield json.loads(text)
            elif line.startswith("error:"):
                raise self._refuses(500, line)

    async def close(self) -> None:
        """End it at once."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        await self._end()
        await self._client.aclose()

    async def _launch(self) -> None:
        self._ready.clear()
        with self._log.open("wb") as log:
            self._process = await _started(self._command, self._environment, log)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._told}\n".encode())
        until = time.monotonic() + self._patience
        while not await self._answers():
            if self._process.returncode is not None or time.monotonic() > until:
                ended = self._process.returncode is not None
                await self._end()
                why = self._why() or ("it ended" if ended else f"it was not ready within {self._patience:g} s")
                raise ServeError(f"{self._name} cannot be started: {why}.", "Mend that, or choose another --engine.")
            await asyncio.sleep(_LOOK_SECONDS)
        self._ready.set()

    async def _answers(self) -> bool:
        import httpx2

        try:
            return (await self._client.get("/health", timeout=5.0)).status_code == 200
        except httpx2.HTTPError:
            return False

    async def _keep(self) -> None:
        """Start it again whenever it has died; what cannot be started is told to whoever asks, and tried again."""
        while True:
            assert self._process is not None
            await self._process.wait()
            self._ready.clear()
            self.restarts += 1
            try:
                await self._launch()
                self._refused = None
            except ServeError as error:
                self._refused = error
                await asyncio.sleep(1.0)

    async def _wait(self) -> None:
        """Until it is ready, if it is being started again."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), self._patience)
            return
        raise self._refused or self._died()

    async def _noticed(self) -> None:
        """Until it is known that the process has ended, if it has."""
        with suppress(TimeoutError):
            assert self._process is not None
            await asyncio.wait_for(self._process.wait(), 1.0)
        await asyncio.sleep(0)  # who starts it again waited for it first

    async def _end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _died(self) -> ServeError:
        return ServeError(f"{self._name} ended in the middle of an answer.", "Ask again: it is being started anew.")

    def _refuses(self, status: int, text: str) -> ServeError:
        with suppress(ValueError, LookupError, TypeError):
            text = str(json.loads(text.removeprefix("error:"))["error"]["message"])
        kind = RequestError if 400 <= status < 500 else ServeError
        return kind(f"{self._name} refuses the request ({status}): {text[:500]}", "Change the request.")

    def _why(self) -> str:
        """The last line that it printed, which mostly says why it ended."""
        with suppress(OSError):
            lines = self._log.read_bytes()[-_LAST_LINES:].decode("utf-8", "replace").splitlines()
            telling = [line.strip() for line in lines if line.strip()]
            errors = [line for line in telling if "rror" in line]
            return (errors or telling or [""])[-1].rstrip(".")
        return ""


async def _started(
    command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]
) -> asyncio.subprocess.Process:
    """A process in a session of its own: Ctrl-C on a terminal lets it finish the answers that are being written."""
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise ServeError(
            f"{command[0]} cannot be run: {error.strerror}.", "Check the path, or install what is missing."
        ) from error


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
