"""A server at an address: a port that is free, a word when it is ready, answers that are finished before it goes."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from weitiao.errors import Phrase
from weitiao.serve.engine import ServeError

if TYPE_CHECKING:
    from fastapi import FastAPI

_GRACE_SECONDS = 60


def listening(host: str, port: int, *, has_key: bool) -> socket.socket:
    """A socket at an address, taken before anything is loaded.

    Args:
        host: A name or an address.
        port: 0 takes any that is free.
        has_key: Whether clients have to bring a key.

    Raises:
        ServeError: The address cannot be had, or others could reach it without a key.
    """
    if not has_key and not _is_loopback(host):
        raise ServeError(
            f"{host} can be reached from other machines, and nobody would have to bring a key.",
            "Add --api-key-file FILE, or leave --host out: 127.0.0.1 is this machine alone.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends what there is at once (TCP_NODELAY): 40 ms sooner.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(256)
    except OSError as error:
        found.close()
        raise ServeError(
            Phrase(
                "The address {address} cannot be used: {reason}.",
                address=f"{host}:{port}",
                reason=error.strerror or error,
            ),
            "Choose another --port (0 takes any that is free), or end what listens there.",
        ) from error
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def run(
    app: FastAPI, at: socket.socket, *, on_ready: Callable[[str], None], on_end: Callable[[], None] = lambda: None
) -> None:
    """Serve until a signal to end; answers that are being written are finished, for a minute at most.

    Args:
        app: The app.
        at: Where it listens.
        on_ready: Gets the URL as soon as requests are taken.
        on_end: Told of the signal, before answers are waited for.
    """
    import uvicorn

    host, port = at.getsockname()[:2]
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=30,
        server_header=False,
        h11_max_incomplete_event_size=2**16,
    )
    on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            on_end()
            super().handle_exit(sig, frame)

    # uvicorn ends at a signal, and raises it again when it has ended: it has been heeded by then.
    before = {one: signal.signal(one, _heeded) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        await Server(config).serve(sockets=[at])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _heeded(*_: object) -> None:
    """Nothing is left to be done."""
