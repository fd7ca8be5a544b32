"""A queue of jobs as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from weitiao.jobs.store import Job
from weitiao.terminal.progress import duration
from weitiao.terminal.tables import table

_STYLES = {"running": "bold", "failed": "red", "stopped": "yellow"}


def print_jobs(jobs: Sequence[Job], console: Console) -> None:
    """Print jobs as the store gives them: those that run, those that wait, those that ended."""
    rows = ((job.id, _state(job), _time(job), " ".join(job.command), job.run_dir) for job in jobs)
    console.print(table(("Job", "State", "Time", "Command", "Run"), rows, words=(1, 3, 4)))


def _state(job: Job) -> Text:
    said = job.state if job.wish is None else f"{job.state}, stops"
    return Text(f"{said} ({job.exit_code})" if job.exit_code else said, _STYLES.get(job.state, ""))


def _time(job: Job) -> str:
    if job.started is None or job.state == "waiting":
        return ""
    ended = datetime.now(UTC) if job.ended is None else datetime.fromisoformat(job.ended)
    return duration((ended - datetime.fromisoformat(job.started)).total_seconds())
