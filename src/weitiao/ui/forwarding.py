"""Asking a server of models by the API of OpenAI, for the pages and for scripts in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from weitiao.ui.context import Ui
from weitiao.ui.problems import UiError
from weitiao.ui.servers import Server, Servers

_PASSED_ON = ("content-type", "retry-after")


async def asked(servers: Servers, name: str, method: str, path: str, body: Any = None) -> Any:
    """What a server says to one request.

    Raises:
        UiError: It is not ready, does not answer, or refuses.
    """
    url = _address(servers, servers.get(name))
    async with httpx2.AsyncClient(trust_env=False, timeout=60.0) as client:
        try:
            reply = await client.request(method, url + path, json=body)
        except httpx2.HTTPError as error:
            raise _silent() from error
    values = reply.json()
    if reply.status_code >= 400:
        raise UiError(values["error"]["message"], "", status=reply.status_code)
    return values


def forwarding_router(ui: Ui) -> APIRouter:
    """`/api/servers/NAME/v1/...`: what a server has at `/v1/...`."""
    router = APIRouter(tags=["servers"])

    @router.api_route("/api/servers/{name}/v1/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def forward(request: Request, name: str, path: str) -> Response:
        """Pass a request on; an answer that is streamed comes as it is written, and ends when the browser leaves."""
        found = ui.servers.get(name)
        url = _address(ui.servers, found)
        ui.servers.used(found)
        client = httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(None, connect=10.0))
        kind = request.headers.get("content-type", "application/json")
        asking = client.build_request(
            request.method, f"{url}/v1/{path}", content=await request.body(), headers={"content-type": kind}
        )
        try:
            reply = await client.send(asking, stream=True)
        except httpx2.HTTPError as error:
            await client.aclose()
            raise _silent() from error

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in reply.aiter_raw():
                    yield piece
            finally:
                await reply.aclose()
                await client.aclose()

        headers = {key: reply.headers[key] for key in _PASSED_ON if key in reply.headers}
        return StreamingResponse(pieces(), reply.status_code, headers={**headers, "Cache-Control": "no-store"})

    return router


def _address(servers: Servers, server: Server) -> str:
    if (url := servers.url(server)) is None:
        raise UiError("This server is not ready.", "Wait until it is, or start it again.", status=409)
    return url


def _silent() -> UiError:
    return UiError("This server does not answer.", "Stop it, and start it again.", status=502)
