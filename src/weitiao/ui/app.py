"""The app: every page with its part of the API, and who may use them."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib import import_module, resources
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from weitiao.ui.access import Access, Token
from weitiao.ui.aside import Aside
from weitiao.ui.context import Ui
from weitiao.ui.forwarding import forwarding_router
from weitiao.ui.pages.compare import compare_router
from weitiao.ui.pages.data import data_router
from weitiao.ui.pages.data_changes import rows_router, sources_router
from weitiao.ui.pages.export import export_router
from weitiao.ui.pages.grading import grading_router
from weitiao.ui.pages.home import home_router
from weitiao.ui.pages.jobs import jobs_router
from weitiao.ui.pages.label import label_router
from weitiao.ui.pages.login import login_router
from weitiao.ui.pages.plan import plan_router
from weitiao.ui.pages.playground import playground_router
from weitiao.ui.pages.projects import projects_router
from weitiao.ui.pages.run import run_router
from weitiao.ui.pages.serve import serve_router
from weitiao.ui.pages.settings import settings_router
from weitiao.ui.pages.task import task_router
from weitiao.ui.pages.trials import trials_router
from weitiao.ui.problems import add_handlers
from weitiao.ui.servers import Servers
from weitiao.ui.templating import STATIC, Pages
from weitiao.ui.workspace import Workspace

AREAS = {
    "home": "/",
    "compare": "/compare",
    "label": "/label",
    "playground": "/playground",
    "serve": "/serve",
    "settings": "/settings",
}
"""Parts that the head of every page leads to: `ui.area.NAME` is what they are called."""

ROUTERS: tuple[Callable[[Ui], APIRouter], ...] = (
    home_router,
    jobs_router,
    projects_router,
    data_router,
    sources_router,
    rows_router,
    task_router,
    grading_router,
    trials_router,
    plan_router,
    compare_router,
    settings_router,
    label_router,
    playground_router,
    export_router,
    serve_router,
    forwarding_router,
    run_router,  # the last: every other address below a run's is tried before it
)

UPLOADS = "/api/uploads"
_UPLOAD_BYTES = 2**30
_BODY_BYTES = 8 * 2**20


def create_app(workspace: Workspace, *, token: str, password: str | None = None) -> FastAPI:
    """The app of a workspace.

    Args:
        workspace: What it shows.
        token: What clients have to bring.
        password: With which others get the token, where other machines can reach it; None for this machine alone.
    """
    mimetypes.add_type("text/javascript", ".js")
    ui = parts_of(workspace, token)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        beside = [asyncio.create_task(one) for one in (_stop_idle(ui.servers), _prepared())]
        yield
        for one in beside:
            one.cancel()
        ui.close()

    app = FastAPI(title="weitiao", lifespan=lifespan, redoc_url=None, docs_url=None, openapi_url="/api/openapi.json")
    app.state.ending = ui.ending
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router(ui))
    if password is not None:
        app.include_router(login_router(ui, password))
    style = (resources.files("weitiao.report") / "templates" / "style.css").read_text(encoding="utf-8")

    @app.get("/static/report.css", include_in_schema=False)
    def report_style() -> Response:
        return Response(style, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(Access, token=ui.token, is_local=password is None, most_bytes=most_bytes)
    return app


def parts_of(workspace: Workspace, token: str) -> Ui:
    """What the pages of a workspace work with; arguments as of `create_app`."""
    home = workspace.jobs.home
    return Ui(workspace, Pages(AREAS), Aside(), Aside(), Token(token, home), Servers(home))


def operations(ui: Ui) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Everything that the API does, as `METHOD /path` and the function that does it."""
    for router in ROUTERS:
        for route in router(ui).routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                yield from ((f"{method} {route.path}", route.endpoint) for method in route.methods or ())


async def _prepared() -> None:
    """Import what the pages of projects and reports need: half a second, which the first page does not wait for."""
    await asyncio.sleep(1.0)
    for name in ("weitiao.recipe.stages", "weitiao.recipe.settings", "weitiao.report.render"):
        await asyncio.to_thread(import_module, name)


async def _stop_idle(servers: Servers) -> None:
    while True:
        await asyncio.sleep(60)
        await asyncio.to_thread(servers.stop_idle)


def most_bytes(path: str) -> int:
    """The largest body that a path takes."""
    return _UPLOAD_BYTES if path.startswith(UPLOADS) else _BODY_BYTES
