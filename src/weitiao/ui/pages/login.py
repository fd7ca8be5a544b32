"""The page that asks for the password, where other machines can reach the pages."""

from __future__ import annotations

import asyncio
import hmac
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from weitiao.ui.access import set_cookie
from weitiao.ui.context import Ui

_WRONG_SECONDS = 1.0


def login_router(ui: Ui, password: str) -> APIRouter:
    """The page, and what it sends."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def page(request: Request) -> Response:
        return ui.pages.page(request, "login", wrong=False)

    @router.post("/login")
    async def enter(request: Request, given: Annotated[str, Form(alias="password")]) -> Response:
        if not hmac.compare_digest(given.encode("utf-8", "replace"), password.encode()):
            await asyncio.sleep(_WRONG_SECONDS)  # guessing takes its time
            return ui.pages.page(request, "login", status=401, wrong=True)
        response = RedirectResponse("/", 303)
        set_cookie(response, ui.token.value)
        return response

    return router
