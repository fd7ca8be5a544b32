"""This machine and these pages: what works here, the models that lie here, the worker, the access token."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from weitiao.jobs.worker import ensure_worker, is_working
from weitiao.ui.access import set_cookie
from weitiao.ui.context import Ui


def settings_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["machine"])
    home = ui.workspace.jobs.home

    @router.get("/settings", include_in_schema=False)
    def page(request: Request) -> Response:
        return ui.pages.page(
            request, "settings", area="settings", models=models_here(), worker=worker(), folder=ui.workspace.root,
            queue=home,
        )  # fmt: skip

    @router.get("/settings/machine", include_in_schema=False)
    async def machine_part(request: Request) -> Response:
        return ui.pages.page(request, "machine", machine=await doctor())

    @router.get("/api/doctor")
    async def doctor() -> dict[str, Any]:
        """What is installed, and what works on this machine: `weitiao doctor`."""
        return await ui.aside.call(diagnosis)

    @router.get("/api/models")
    def models() -> list[dict[str, Any]]:
        """Models that lie on this machine, with what they take."""
        return models_here()

    @router.get("/api/worker")
    def worker() -> dict[str, bool]:
        """Whether somebody does the jobs of the queue."""
        return {"is_working": is_working(home)}

    @router.post("/api/worker")
    def start_worker() -> dict[str, bool]:
        """See to it that somebody does the jobs of the queue; a worker ends when nothing is left to do."""
        ensure_worker(home)
        return {"is_working": True}

    @router.post("/api/token")
    def renew_token(request: Request) -> Response:
        """Make a new access token. Who has the old one, in an address or a cookie, is out; this browser stays in."""
        token = ui.token.renew()
        response = JSONResponse({"token": token, "url": f"{request.base_url}?token={token}"})
        set_cookie(response, token)
        return response

    return router


def models_here() -> list[dict[str, Any]]:
    """Models that lie on this machine, as JSON values."""
    from weitiao.models.on_disk import models_on_disk

    return [{**asdict(one), "path": str(one.path)} for one in models_on_disk()]


def diagnosis() -> dict[str, Any]:
    """What `weitiao doctor` tells, as plain values. It imports PyTorch: to be called aside."""
    from weitiao.machine.doctor import diagnose

    return asdict(diagnose())
