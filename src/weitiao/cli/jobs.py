"""`weitiao submit`, `jobs`, `work`, and `weitiao job stop`, `retry`, `move`, `log`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result, results
from weitiao.cli.options import Json, Overrides, ReportLanguage
from weitiao.console import quoted

if TYPE_CHECKING:
    from weitiao.jobs.store import JobStore

Home = Annotated[Path | None, typer.Option(help="The folder of the queue; one for each user by default.")]
Number = Annotated[int, typer.Argument(help="The number of the job.")]


def submit(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory to go on with.")],
    overrides: Overrides = None,
    verb: Annotated[
        Literal["run", "train", "methods", "baseline", "eval", "retention"], typer.Option(help="What is done with it.")
    ] = "run",
    home: Home = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Put a recipe into the queue: it is done in the background, one at a time for each device.

    The terminal may be closed. Whatever is killed, the queue goes on where it stood.

    Examples:

        weitiao submit recipe.yaml

        weitiao submit recipe.yaml train.epochs=3 --verb train
    """
    from weitiao.jobs.worker import ensure_worker
    from weitiao.recipe.stages import load_work

    work = load_work(recipe, overrides or ())  # what is wrong is said here, and not in a file tomorrow
    assert work.run_dir is not None, "reading sets it"
    store = _store(home)
    command = [verb, str(recipe), *(overrides or ())]
    job = store.submit(command, Path.cwd(), work.run_dir.absolute(), language)
    ensure_worker(store.home)
    if json:
        print_json(job)
    facts = [("job", str(job.id)), ("run", job.run_dir), ("output", str(store.log(job.id)))]
    where = "" if home is None else f" --home {quoted(home)}"
    closing_panel(messages(language), "Submitted", facts, [f"weitiao jobs{where}", f"weitiao job log {job.id}{where}"])


def jobs(
    search: Annotated[str, typer.Argument(help="A part of the command or of the run directory.")] = "",
    home: Home = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Show the queue: what runs, what waits, and what came of the rest.

    Examples:

        weitiao jobs

        weitiao jobs tickets --json
    """
    from weitiao.jobs.worker import is_working
    from weitiao.terminal.console import wording_of
    from weitiao.terminal.jobs import print_jobs

    store = _store(home)
    found = store.jobs(search)
    print_result({"jobs": found} if json else found, print_jobs, json=json, language=language)
    if any(job.state in ("waiting", "starting", "running") for job in found) and not is_working(store.home):
        console = messages(language)
        console.print(wording_of(console).phrase("Nobody does these jobs: start with `weitiao work`."), markup=False)


def work(
    device: Annotated[
        list[str] | None, typer.Option(help="A CUDA device for jobs, by its index; one job each. Repeatable.")
    ] = None,
    linger: Annotated[float, typer.Option(min=0.0, help="Seconds without a job after which it ends.")] = 30.0,
    home: Home = None,
) -> None:
    """Do the jobs of the queue. `weitiao submit` starts this by itself; after a restart of the machine, call it.

    Examples:

        weitiao work

        weitiao work --device 0 --device 1
    """
    from weitiao.jobs.worker import work as run

    run(_store(home).home, devices=tuple(device or ("",)), linger=linger)


def stop(
    job: Number,
    kill: Annotated[bool, typer.Option("--kill", help="At once; what was not saved is lost.")] = False,
    home: Home = None,
) -> None:
    """Stop a job: it saves what it has. `weitiao job retry` goes on with it.

    Examples:

        weitiao job stop 3
    """
    from weitiao.jobs.worker import ensure_worker

    store = _store(home)
    if store.stop(job, kill=kill).wish is not None:
        ensure_worker(store.home)  # who tells it


def retry(job: Number, home: Home = None) -> None:
    """Let a job that was stopped, failed or is done wait again; a run goes on where it stood.

    Examples:

        weitiao job retry 3
    """
    from weitiao.jobs.worker import ensure_worker

    store = _store(home)
    store.retry(job)
    ensure_worker(store.home)


def move(
    job: Number,
    before: Annotated[int | None, typer.Option(help="The job that it comes before; the first one that waits.")] = None,
    home: Home = None,
) -> None:
    """Put a job that waits before another one, or to the front.

    Examples:

        weitiao job move 7

        weitiao job move 7 --before 5
    """
    _store(home).move(job, before=before)


def log(job: Number, home: Home = None) -> None:
    """Print what a job has printed.

    Examples:

        weitiao job log 3
    """
    store = _store(home)
    path = store.log(store.get(job).id)
    if path.exists():
        results().print(
            path.read_text(encoding="utf-8", errors="replace"), markup=False, highlight=False, soft_wrap=True
        )


def _store(home: Path | None) -> JobStore:
    from platformdirs import user_state_path

    from weitiao.jobs.store import JobStore

    return JobStore((home or user_state_path("weitiao") / "jobs").absolute())
