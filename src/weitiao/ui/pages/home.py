"""The first page: what runs, what waits, what came out; something new, and the demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from weitiao.jobs.worker import is_working
from weitiao.ui.context import Ui
from weitiao.ui.pages.jobs import shown_job, submit
from weitiao.ui.templating import Spoken
from weitiao.ui.workspace import Workspace

_SHOWN = 30


def outline(workspace: Workspace, name: str) -> dict[str, Any]:
    """A run in a line: what it came to, and how far it is.

    Returns:
        `name`, `verdict` (`ship`, `do not ship`, `undecided` or None), `is_finished`, `goes_on` (whether a process
        works on it now, one of the command line too), `has_report`.
    """
    run = workspace.run(name)
    verdict = read_values(run.path / "verdict.json")
    return {
        "name": name,
        "verdict": verdict.get("decision"),
        "is_finished": run.is_finished,
        "goes_on": run.is_in_use,
        "has_report": (run.path / "steps.json").is_file() or run.metrics_path.is_file(),
    }


def home_values(workspace: Workspace, search: str) -> dict[str, Any]:
    """Jobs, runs and projects, those that have a text in their names."""
    found = workspace.jobs.jobs(search)
    jobs = [shown_job(job, workspace) for job in found[:_SHOWN]]
    runs = [name for name in workspace.runs() if search.lower() in name.lower()]
    return {
        "jobs": jobs,
        "nobody_works": any(job["is_open"] for job in jobs) and not is_working(workspace.jobs.home),
        "runs": [outline(workspace, name) for name in runs[:_SHOWN]],
        "num_runs": len(runs),
        "projects": [one.name for one in workspace.projects() if search.lower() in one.name.lower()],
    }


def home_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["home"])
    workspace = ui.workspace

    @router.get("/", include_in_schema=False)
    def page(request: Request, search: str = "") -> Response:
        values = home_values(workspace, search)
        return ui.pages.page(request, "home", area="home", search=search, folder=str(workspace.root), **values)

    @router.get("/api/home")
    def home(search: str = "") -> dict[str, Any]:
        """What runs, what waits, what came out, and the projects."""
        return home_values(workspace, search)

    @router.post("/api/demo", status_code=201)
    def demo(language: Spoken = "en") -> dict[str, Any]:
        """Put the demo into the queue; where it was done before, it goes on, or is there at once."""
        output = workspace.inside("demo")
        words = ["demo", "--output", str(output)]
        return submit(workspace, words, workspace.root, output / "run", language)

    @router.get("/health", include_in_schema=False)
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return router


def read_values(path: Path) -> dict[str, Any]:
    """A file of a run with an object in it; nothing where there is none yet."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, being written, or damaged: the run's own page names it
        return {}
    return values if isinstance(values, dict) else {}
