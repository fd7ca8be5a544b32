"""The queue of jobs: submit, stop, go on, move, and what a job prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from weitiao.jobs.store import OPEN, Job
from weitiao.jobs.worker import ensure_worker
from weitiao.text.wording import Language
from weitiao.ui.context import Ui
from weitiao.ui.problems import UiError
from weitiao.ui.templating import Spoken
from weitiao.ui.workspace import Project, Workspace

Verb = Literal["run", "train", "methods", "baseline", "eval", "retention"]
MOST_LOG_BYTES = 2**16


class NewJob(BaseModel, extra="forbid"):
    """What is to be done.

    Attributes:
        project: Whose recipe; or
        run: Which run is to go on.
        verb: The command.
        overrides: `section.key=value`, as on the command line.
        again: Begin a new run even where the last one has not been trained yet.
    """

    project: str | None = None
    run: str | None = None
    verb: Verb = "run"
    overrides: list[str] = Field(default=[], max_length=200)
    again: bool = False


class Stop(BaseModel, extra="forbid"):
    """How a job is stopped: `kill` ends it at once, and loses what it has not saved."""

    kill: bool = False


class Move(BaseModel, extra="forbid"):
    """Where in the queue a job goes: before another one, or to the front."""

    before: int | None = None


def submit(
    workspace: Workspace, command: list[str], folder: Path, run_dir: Path | None, language: Language
) -> dict[str, Any]:
    """Put a command into the queue, and see to it that somebody does it.

    Args:
        workspace: Whose queue.
        command: The words behind `weitiao`.
        folder: Where it runs.
        run_dir: What it works on.
        language: What it speaks: that of the page.
    """
    job = workspace.jobs.submit(command, folder, run_dir, language)
    ensure_worker(workspace.jobs.home)
    return shown_job(job, workspace)


def begin(workspace: Workspace, new: NewJob, language: Language) -> dict[str, Any]:
    """Put a project's recipe, or a run that is to go on, into the queue.

    Raises:
        WeitiaoError: There is none, or a setting cannot be used: what is wrong is said at once.
    """
    from weitiao.recipe.stages import load_work

    if (new.project is None) == (new.run is None):
        raise UiError("Name a `project` or a `run`.", "Name one of them.")
    if new.run is not None:
        path = workspace.run(new.run).path
        command, folder, run_dir = [new.verb, str(path)], path, path
    else:
        project = workspace.project(new.project or "")
        run_dir = next_run(project, again=new.again)
        command, folder = [new.verb, str(project.recipe), f"run_dir={run_dir}"], project.path
    load_work(Path(command[1]), [*command[2:], *new.overrides])
    return submit(workspace, [*command, *new.overrides], folder, run_dir, language)


def next_run(project: Project, *, again: bool) -> Path:
    """Where a project's next run goes: into its last one as long as nothing is trained there, else into a new one."""
    numbers = [int(path.name) for path in project.runs.glob("*") if path.name.isdecimal()]
    last = max(numbers, default=0)
    path = project.runs / str(last)
    is_used = any((path / name).exists() for name in ("final", "checkpoints", "metrics.jsonl"))
    return project.runs / str(last + 1) if again or is_used or not last else path


def shown_job(job: Job, workspace: Workspace) -> dict[str, Any]:
    """A job as the pages and the API show it."""
    run = workspace.name_of(Path(job.run_dir)) if job.run_dir else None
    there = run is not None and (workspace.root / run / "recipe.yaml").is_file()
    return {
        "id": job.id, "verb": job.command[0], "command": " ".join(job.command), "state": job.state, "run": run,
        "run_is_there": there, "submitted": job.submitted, "started": job.started, "ended": job.ended,
        "attempt": job.attempt, "wish": job.wish, "exit_code": job.exit_code, "is_open": job.state in OPEN,
    }  # fmt: skip


def log_of(workspace: Workspace, number: int, offset: int | None) -> dict[str, Any]:
    """What a job has printed from a byte on, as `printed` gives it."""
    return printed(workspace.jobs.log(workspace.jobs.get(number).id), offset)


def printed(path: Path, offset: int | None) -> dict[str, Any]:
    """A log from a byte on; of None, its end.

    Returns:
        `text`, `next` (the byte to ask from), and `size`.
    """
    size = path.stat().st_size if path.is_file() else 0
    begin = max(0, size - MOST_LOG_BYTES) if offset is None else min(offset, size)
    if not size:
        return {"text": "", "next": 0, "size": 0}
    with path.open("rb") as file:
        file.seek(begin)
        data = file.read(MOST_LOG_BYTES)
    return {"text": data.decode("utf-8", "replace"), "next": begin + len(data), "size": size}


def jobs_router(ui: Ui) -> APIRouter:
    """The API of the queue."""
    router = APIRouter(prefix="/api/jobs", tags=["jobs"])
    workspace = ui.workspace

    @router.get("")
    def jobs(search: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        """Jobs that run, wait, and ended: the newest first."""
        return [shown_job(job, workspace) for job in workspace.jobs.jobs(search)[:limit]]

    @router.post("", status_code=201)
    def add(new: NewJob, language: Spoken = "en") -> dict[str, Any]:
        """Put a recipe, or a run that is to go on, into the queue. It speaks the language of who asks."""
        return begin(workspace, new, language)

    @router.post("/{number}/stop")
    def stop(number: int, how: Stop | None = None) -> dict[str, Any]:
        """Stop a job: it saves what it has."""
        job = workspace.jobs.stop(number, kill=how is not None and how.kill)
        ensure_worker(workspace.jobs.home)
        return shown_job(job, workspace)

    @router.post("/{number}/retry")
    def retry(number: int) -> dict[str, Any]:
        """Let a job that ended wait again; a run goes on where it stood."""
        job = workspace.jobs.retry(number)
        ensure_worker(workspace.jobs.home)
        return shown_job(job, workspace)

    @router.post("/{number}/move")
    def move(number: int, where: Move | None = None) -> dict[str, Any]:
        """Put a job that waits before another one, or to the front."""
        return shown_job(workspace.jobs.move(number, before=where.before if where else None), workspace)

    @router.get("/{number}/log")
    def log(number: int, offset: Annotated[int | None, Query(ge=0, le=2**53)] = None) -> dict[str, Any]:
        """What a job has printed, from a byte on; its end, where none is named."""
        return log_of(workspace, number, offset)

    return router
