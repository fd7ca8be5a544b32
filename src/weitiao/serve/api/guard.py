"""What every request passes before anything reads it: the key, the host, its size, its time; and it is counted."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weitiao.serve.api.errors import ApiError
from weitiao.serve.api.streams import LEFT
from weitiao.serve.limits import Limits
from weitiao.serve.metrics import Metrics

OPEN_PATHS = ("/health",)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SENDING_SECONDS = 30.0
"""What a client has beyond the time for answers to take what is left of one."""


class Guard:
    """Middleware around an app.

    Args:
        app: The app.
        limits: Size of a body, and times.
        keys: Any of these has to be brought as a bearer token; none where only this machine can ask.
        metrics: Counts requests.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, keys: Collection[str], metrics: Metrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, told = LEFT, False
        body = _Body(receive, self._limits)

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def checked(message: Message) -> None:
            """As above; where the body was refused, whoever read it knows only that it could not be read."""
            nonlocal told
            if body.refused is None or (status != LEFT and not told):
                await counted(message)
            elif not told:
                told = True
                await _refuse(body.refused, scope, receive, counted)

        try:
            self._require_welcome(scope)
            async with asyncio.timeout(self._limits.seconds + self._limits.body_seconds + _SENDING_SECONDS):
                await self._app(scope, body.receive, checked)
        except ApiError as error:
            if status == LEFT:  # nothing was sent yet
                await _refuse(error, scope, receive, counted)
        except TimeoutError:
            pass  # a client that takes nothing: the connection ends
        except Exception:
            status = 500
            raise
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")  # not what was asked for, of which there is no end
            self._metrics.requests.labels(path, str(status)).inc()

    def _require_welcome(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not self._keys:  # a page in a browser of this machine must not reach it under a name of its own
            if _host_of(headers.get("host", "")) not in LOOPBACK:
                raise ApiError(403, "This server answers at 127.0.0.1 and localhost alone.", code="host")
        elif scope["path"] not in OPEN_PATHS:
            kind, _, key = headers.get("authorization", "").partition(" ")
            given = key.strip().encode("utf-8", "replace")
            known = [hmac.compare_digest(given, one) for one in self._keys]
            if kind.lower() != "bearer" or not any(known):
                raise ApiError(
                    401, "The API key is missing or wrong.", code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limits.body_bytes:
            raise _too_large(self._limits)


class _Body:
    """The body as it comes, within its size and its time."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._size, self._whole = 0, False
        self.refused: ApiError | None = None
        self._until = asyncio.get_running_loop().time() + limits.body_seconds

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            self.refused = ApiError(408, "The body of the request did not come in time.", code="timeout")
            raise self.refused from error
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._size > self._limits.body_bytes:
                self.refused = _too_large(self._limits)
                raise self.refused
        return message


def _host_of(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:  # brackets that hold no address
        return None


def _too_large(limits: Limits) -> ApiError:
    message = f"The body is larger than {limits.body_bytes:,} bytes, the most that this server takes."
    return ApiError(413, message, code="body_too_large")


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    response: Response = error.response()
    response.headers["Connection"] = "close"  # what is left of the body is not waited for
    await response(scope, receive, send)


def guard(app: FastAPI, *, limits: Limits, keys: Collection[str], metrics: Metrics) -> None:
    """Put it around an app."""
    app.add_middleware(Guard, limits=limits, keys=keys, metrics=metrics)
