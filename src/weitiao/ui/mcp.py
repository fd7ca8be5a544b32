"""`weitiao mcp`: what the pages show and do, for agents, over the Model Context Protocol (https://modelcontextprotocol.io).

The functions are those of the API. An agent may look at everything below the folder; it changes nothing unless it may.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from weitiao.errors import WeitiaoError
from weitiao.jobs.worker import ensure_worker
from weitiao.text.wording import Wording
from weitiao.ui import recipes
from weitiao.ui.live import Metrics
from weitiao.ui.pages.export import NewExport, command_of, export_values
from weitiao.ui.pages.home import home_values
from weitiao.ui.pages.jobs import NewJob, Verb, begin, log_of, shown_job, submit
from weitiao.ui.pages.run import run_values
from weitiao.ui.pages.settings import diagnosis
from weitiao.ui.workspace import Workspace

_ABOUT = (
    "Fine-tuning of language models: projects with recipes, runs with verdicts, and the queue of jobs that does them."
)
_RESULTS = (
    "verdict", "scores", "baseline", "comparison", "gap", "gap-tuned", "data-check", "retention-before",
    "retention-after", "forecast", "environment",
)  # fmt: skip


def create_server(workspace: Workspace, *, allow_changes: bool) -> MCPServer[None]:
    """A server for agents.

    Args:
        workspace: What they see.
        allow_changes: Whether they may put jobs into the queue and stop them.
    """
    server: MCPServer[None] = MCPServer("weitiao", instructions=_ABOUT, log_level="WARNING")
    for function in looking(workspace):
        server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))(told(function))
    if allow_changes:
        for function in changing(workspace):
            server.tool(annotations=ToolAnnotations(read_only_hint=False, open_world_hint=False))(told(function))
    return server


def looking(workspace: Workspace) -> tuple[Callable[..., Any], ...]:
    """What reads."""

    def overview(search: str = "") -> dict[str, Any]:
        """Jobs, runs and projects, those that have a text in their names."""
        return home_values(workspace, search)

    def run(name: str) -> dict[str, Any]:
        """How far a run is: its steps with what came out of each, its job, its verdict."""
        return run_values(workspace, name, _metrics(name))

    def metrics(name: str, points: int = 50) -> dict[str, Any]:
        """The numbers of a run's training, thinned out to so many points each."""
        return _metrics(name).drawn((), min(max(points, 10), 1000))

    def result(name: str, what: str) -> Any:
        """A result of a run as it stands in its file.

        `what`: verdict, scores, baseline, comparison, gap, gap-tuned, data-check, retention-before, retention-after,
        forecast or environment.
        """
        path = workspace.run(name).path / f"{what}.json"
        if what not in _RESULTS or not path.is_file():
            raise ToolError(f"This run has no {what}. There are: {', '.join(_RESULTS)}, as far as the run has come.")
        return json.loads(path.read_text(encoding="utf-8"))

    def exports(name: str) -> dict[str, Any]:
        """What was exported of a run, with size, memory, speed and quality of each format."""
        return export_values(workspace, name, Wording("en"))

    def recipe(project: str) -> str:
        """The recipe of a project: a YAML file."""
        return recipes.read(workspace.project(project)).text

    def log(job: int) -> str:
        """The end of what a job has printed."""
        return str(log_of(workspace, job, None)["text"])

    def doctor() -> dict[str, Any]:
        """What is installed, and what works on this machine."""
        return diagnosis()

    def _metrics(name: str) -> Metrics:
        found = Metrics(workspace.run(name).metrics_path)
        found.refresh()
        return found

    return overview, run, metrics, result, exports, recipe, log, doctor


def changing(workspace: Workspace) -> tuple[Callable[..., Any], ...]:
    """What puts work into the queue."""

    def start(project: str, verb: Verb = "run", overrides: tuple[str, ...] = ()) -> dict[str, Any]:
        """Put a project's recipe into the queue; `overrides` are `section.key=value`."""
        return shown_job(begin(workspace, NewJob(project=project, verb=verb, overrides=list(overrides))), workspace)

    def go_on(run: str) -> dict[str, Any]:
        """Let a run go on where it stands."""
        return shown_job(begin(workspace, NewJob(run=run)), workspace)

    def stop(job: int) -> dict[str, Any]:
        """Stop a job: it saves what it has."""
        stopped = workspace.jobs.stop(job)
        ensure_worker(workspace.jobs.home)
        return shown_job(stopped, workspace)

    def export(run: str, formats: tuple[str, ...], largest_loss: float = 0.02) -> dict[str, Any]:
        """Export a tuned model in formats such as gguf-q8_0, and check each."""
        path = workspace.run(run).path
        command = command_of(NewExport(formats=list(formats), largest_loss=largest_loss), str(path))
        return shown_job(submit(workspace, command, workspace.root, path), workspace)

    return start, go_on, stop, export


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose errors an agent can read."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except WeitiaoError as error:
            raise ToolError(str(error)) from error

    return call
