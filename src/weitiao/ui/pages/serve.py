"""Servers: start and stop them, who gets which model and how they compare, and how they are called."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from weitiao.ui.context import Ui
from weitiao.ui.forwarding import asked
from weitiao.ui.problems import UiError
from weitiao.ui.workspace import Workspace

FEEDBACK = "feedback.db"


class NewServer(BaseModel, extra="forbid"):
    """What is served.

    Attributes:
        targets: Runs, adapters, GGUF files below the folder, or models by name; `NAME=TARGET` gives a name.
        engine: As `weitiao serve --engine`.
        port: None takes any that is free.
        route: Shares of users: `tuned=0.2,base=0.8`.
        slots: Answers that are written at once.
        context: Tokens of prompt and answer together.
        keep_feedback: Whether answers and what is said of them are kept, in `feedback.db` of the folder.
        is_lasting: Whether it stays when nobody asks it anything.
    """

    targets: list[str] = Field(min_length=1, max_length=16)
    engine: str = "auto"
    port: int | None = Field(default=None, ge=1, le=65535)
    route: str | None = None
    slots: int | None = Field(default=None, ge=1, le=256)
    context: int | None = Field(default=None, ge=16)
    keep_feedback: bool = False
    is_lasting: bool = True


class Route(BaseModel, extra="forbid"):
    """Shares of a route from now on."""

    weights: dict[str, float]


def options_of(new: NewServer) -> list[str]:
    """The words behind `weitiao serve` for what is asked."""
    given = {
        "--engine": new.engine, "--port": new.port, "--route": new.route, "--slots": new.slots,
        "--context": new.context, "--feedback": FEEDBACK if new.keep_feedback or new.route else None,
    }  # fmt: skip
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]


def checked_targets(targets: list[str], workspace: Workspace) -> list[str]:
    """Targets that lie below the folder, or are names of models.

    Raises:
        UiError: One is a path to somewhere else, or is written like an option.
    """
    for target in targets:
        path = target.partition("=")[2] or target
        if target.startswith("-") or path.startswith("-") or not target.isprintable():
            raise UiError(f"{target!r} is no model.", "Name a run, a GGUF file or a model.", field="targets")
        if (workspace.root / path).exists() or path.startswith((".", "/", "~")):
            workspace.inside(path)
    return targets


def serve_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["servers"])
    workspace, servers = ui.workspace, ui.servers

    def listed() -> list[dict[str, Any]]:
        return [servers.facts(one) for one in servers.all()]

    @router.get("/serve", include_in_schema=False)
    async def page(request: Request, target: Annotated[list[str] | None, Query()] = None) -> Response:
        shown = await asyncio.to_thread(listed)
        for one in shown:
            routed = one["state"] == "ready" and "--route" in one["command"]
            one["route"] = await asked(servers, one["id"], "GET", "/v1/route") if routed else None
            names = one["route"]["weights"] if one["route"] else {}
            one["promote"] = {name: {other: float(other == name) for other in names} for name in names}
        return ui.pages.page(
            request, "serve", area="serve", servers=shown, targets=target or [], exported=exported(workspace),
            loading=any(one["state"] == "loading" for one in shown),
        )  # fmt: skip

    @router.get("/api/servers")
    def all_servers() -> list[dict[str, Any]]:
        """Servers that the pages started, and how they stand."""
        return listed()

    @router.post("/api/servers", status_code=201)
    def start(new: NewServer) -> dict[str, Any]:
        """Start a server; it is ready some seconds later."""
        targets = checked_targets(new.targets, workspace)
        return servers.facts(servers.start(targets, workspace.root, options=options_of(new), is_lasting=new.is_lasting))

    @router.get("/api/servers/{name}")
    def server(name: str) -> dict[str, Any]:
        """How a server stands."""
        return servers.facts(servers.get(name))

    @router.post("/api/servers/{name}/stop")
    def stop(name: str) -> dict[str, str]:
        """Let a server finish its answers, and end."""
        servers.stop(servers.get(name))
        return {"id": name}

    @router.get("/api/servers/{name}/route")
    async def route(name: str) -> Any:
        """Who answers whom, and how the models compare so far."""
        return await asked(servers, name, "GET", "/v1/route")

    @router.post("/api/servers/{name}/route")
    async def set_route(name: str, new: Route) -> Any:
        """Give other shares from now on: promote a model, or roll back."""
        return await asked(servers, name, "POST", "/v1/route", {"weights": new.weights})

    return router


def exported(workspace: Workspace) -> list[dict[str, str]]:
    """What can be served: runs that are trained, and what was exported of them."""
    found = []
    for name in workspace.runs():
        run = workspace.run(name)
        if run.is_finished:
            found.append({"target": name, "kind": "run"})
        files = sorted(run.path.glob("export/*/*.gguf"))
        found += [{"target": path.relative_to(workspace.root).as_posix(), "kind": "gguf"} for path in files]
    return found
