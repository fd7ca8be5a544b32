"""A queue of jobs as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from weitiao.errors import Phrase
from weitiao.jobs.store import Job
from weitiao.terminal.console import wording_of
from weitiao.terminal.progress import duration
from weitiao.terminal.tables import table
from weitiao.text.wording import Wording

_STYLES = {"running": "bold", "failed": "red", "stopped": "yellow"}


def print_jobs(jobs: Sequence[Job], console: Console) -> None:
    """Print jobs as the store gives them: those that run, those that wait, those that ended."""
    words = wording_of(console)
    rows = ((job.id, _state(job, words), _time(job, words), " ".join(job.command), job.run_dir) for job in jobs)
    console.print(table(map(words.phrase, ("Job", "State", "Time", "Command", "Run")), rows, words=(1, 3, 4)))


def _state(job: Job, words: Wording) -> Text:
    state = Phrase(job.state)
    said = words.phrase(state if job.wish is None else Phrase("{state}, stops", state=state))
    return Text(f"{said} ({job.exit_code})" if job.exit_code else said, _STYLES.get(job.state, ""))


def _time(job: Job, words: Wording) -> str:
    if job.started is None or job.state == "waiting":
        return ""
    ended = datetime.now(UTC) if job.ended is None else datetime.fromisoformat(job.ended)
    return duration((ended - datetime.fromisoformat(job.started)).total_seconds(), words.language)
