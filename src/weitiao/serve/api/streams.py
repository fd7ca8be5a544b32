"""Responses whose computation ends when the client leaves: whole ones, and server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from weitiao.serve.api.errors import as_api_error

T = TypeVar("T")
LEFT = 499
"""Status of a request whose client left, for the counts; nobody is there to read it."""


async def until_left(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What a computation gives; None where the client left, which ends it."""
    task = asyncio.create_task(work)
    left = asyncio.create_task(_leaves(request.receive))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for one in (task, left):
            one.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await one


async def answered(request: Request, work: Coroutine[Any, Any, Any]) -> Response:
    """What a computation gives as the reply; none where the client left."""
    whole = await until_left(request, work)
    return JSONResponse(whole) if whole is not None else Response(status_code=LEFT)


async def _leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events as they come; an error in the middle is an event, too.

    Args:
        events: Their data: objects, with a name each in `/v1/responses`.
        first: The events that came before it was clear that there is no error to tell by a status.
        done: Whether `[DONE]` ends them, as in completions.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[dict[str, Any], None], first: Iterable[dict[str, Any]], *, done: bool
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._first, self._done = events, list(first), done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of them, unless the client leaves."""
        task = asyncio.create_task(self._send(send))
        left = asyncio.create_task(_leaves(receive))
        try:
            await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
        finally:
            for one in (task, left):
                one.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await one

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            for event in self._first:
                await _send_event(send, event)
            try:
                async for event in events:
                    await _send_event(send, event)
            except Exception as error:  # noqa: BLE001 (the status is sent: all that is left is to tell it here)
                await _send_event(send, as_api_error(error).body())
            else:
                if self._done:
                    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_event(send: Send, event: dict[str, Any]) -> None:
    name = f"event: {event['type']}\n" if "type" in event else ""
    text = f"{name}data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n"
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def primed(events: AsyncGenerator[dict[str, Any], None], *, done: bool) -> EventStream:
    """A stream whose first event is here: what goes wrong before it is told by a status."""
    try:
        first = [await anext(events)]
    except StopAsyncIteration:
        first = []
    return EventStream(events, first, done=done)
