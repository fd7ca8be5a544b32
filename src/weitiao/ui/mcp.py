"""`weitiao mcp`: what the pages show and do, for agents, over the Model Context Protocol (https://modelcontextprotocol.io).

A tool is an operation of the API: its function, its arguments, its words. An agent may look at everything below the
folder; it changes nothing unless it may.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from weitiao.errors import WeitiaoError
from weitiao.ui.app import operations, parts_of
from weitiao.ui.workspace import Workspace

_ABOUT = (
    "Fine-tuning of language models: projects with data and a recipe, runs with verdicts, and the queue of jobs that "
    "does them. Names and files are below one folder. A change of a recipe or of data wants the `etag` that was read "
    "with it."
)
_PROJECT, _RUN, _SERVER = "/api/projects/{name:path}", "/api/runs/{name:path}", "/api/servers/{name}"
_STORE = "/api/feedback/{name:path}"
LOOKING = {
    "GET /api/home": "overview",
    "GET /api/jobs": "jobs",
    "GET /api/jobs/{number}/log": "log",
    "GET /api/projects": "projects",
    f"GET {_PROJECT}/recipe": "recipe",
    f"GET {_PROJECT}/settings": "settings",
    f"GET {_PROJECT}/data": "data",
    f"GET {_PROJECT}/data/sources": "data_sources",
    f"GET {_PROJECT}/data/check": "data_check",
    f"POST {_PROJECT}/data/preview": "data_preview",
    f"GET {_PROJECT}/task": "task",
    f"GET {_PROJECT}/prompt": "prompt",
    f"GET {_PROJECT}/replay": "replay_cost",
    f"GET {_PROJECT}/plan": "plan",
    "GET /api/runs": "runs",
    f"GET {_RUN}": "run",
    f"GET {_RUN}/metrics": "metrics",
    f"GET {_RUN}/why": "why",
    f"GET {_RUN}/results/{{what}}": "result",
    f"GET {_RUN}/exports": "exports",
    "GET /api/compare": "compare",
    "GET /api/compare/answers": "compare_answers",
    "GET /api/feedback": "feedback",
    f"GET {_STORE}/status": "feedback_status",
    "GET /api/servers": "servers",
    f"GET {_SERVER}": "server",
    f"GET {_SERVER}/route": "route",
    "GET /api/doctor": "doctor",
    "GET /api/models": "models",
    "GET /api/worker": "worker",
}
"""Operations that only look, with the name of their tool."""
CHANGING = {
    "POST /api/demo": "demo",
    "POST /api/jobs": "start",
    "POST /api/jobs/{number}/stop": "stop",
    "POST /api/jobs/{number}/retry": "retry",
    "POST /api/jobs/{number}/move": "move",
    "POST /api/worker": "start_worker",
    "POST /api/projects": "new_project",
    f"PATCH {_PROJECT}/recipe": "change_recipe",
    f"POST {_PROJECT}/data/files": "data_files",
    f"POST {_PROJECT}/data/mapping": "data_mapping",
    f"POST {_PROJECT}/data/remove": "data_remove",
    f"POST {_PROJECT}/data/mend": "data_mend",
    f"POST {_PROJECT}/data/rows": "data_rows",
    f"POST {_PROJECT}/data/split": "data_split",
    f"POST {_PROJECT}/data/versions/{{number}}": "data_version",
    f"POST {_PROJECT}/task": "set_task",
    f"POST {_PROJECT}/grades": "grade",  # by functions and servers of somebody's, too
    f"POST {_PROJECT}/trials": "try_prompt",
    f"POST {_PROJECT}/prompt": "set_prompt",
    f"POST {_RUN}/exports": "export",
    "POST /api/feedback": "feedback_sample",
    f"POST {_STORE}/judge": "feedback_judge",
    f"POST {_STORE}/project": "feedback_project",
    "POST /api/servers": "serve",
    f"POST {_SERVER}/stop": "stop_server",
    f"POST {_SERVER}/route": "set_route",
}
"""Operations that change something. What is in neither table is for browsers (streams, uploads, the access token), or
for people alone: what they say of answers."""


def create_server(workspace: Workspace, *, allow_changes: bool) -> MCPServer[None]:
    """A server for agents.

    Args:
        workspace: What they see.
        allow_changes: Whether they may do more than look.
    """
    ui = parts_of(workspace, token="")

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        yield
        ui.close()

    server: MCPServer[None] = MCPServer("weitiao", instructions=_ABOUT, log_level="WARNING", lifespan=lifespan)
    for operation, function in operations(ui):
        reads = operation in LOOKING
        if name := LOOKING.get(operation) or (CHANGING.get(operation) if allow_changes else None):
            hints = ToolAnnotations(read_only_hint=reads, open_world_hint=False)
            server.add_tool(told(function), name, annotations=hints)
    return server


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose errors an agent can read."""

    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if iscoroutinefunction(function):
                return await function(*args, **kwargs)
            return await asyncio.to_thread(function, *args, **kwargs)
        except WeitiaoError as error:
            raise ToolError(str(error)) from error

    return call
