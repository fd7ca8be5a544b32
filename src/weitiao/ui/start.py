"""`weitiao ui`: the pages behind an address, until a signal ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from weitiao.errors import RunError


def start(
    root: Path,
    queue: Path,
    *,
    host: str,
    port: int,
    password: str | None,
    new_token: bool,
    on_ready: Callable[[str], None],
) -> None:
    """Show the projects and runs of a folder.

    Args:
        root: The folder.
        queue: That of the queue of jobs; the access token lies there too.
        host, port: Where; 0 takes any port that is free.
        password: Asked of those who come from other machines; None refuses any other address than this machine's.
        new_token: Whether addresses and cookies of before shall be worth nothing.
        on_ready: Told the address, with the token, as soon as pages can be asked for.

    Raises:
        WeitiaoError: The folder or the address cannot be had.
    """
    from weitiao.jobs.store import OPEN, JobStore
    from weitiao.jobs.worker import ensure_worker
    from weitiao.serve.running import listening, run
    from weitiao.ui.access import token_in
    from weitiao.ui.app import create_app
    from weitiao.ui.workspace import Workspace

    if not root.is_dir():
        raise RunError(f"There is no folder {root}.", "Name the folder that projects and runs lie in.")
    token = token_in(queue, new=new_token)
    if any(job.state in OPEN for job in JobStore(queue).jobs()):
        ensure_worker(queue)  # whatever was killed, what was begun goes on
    with listening(host, port, has_key=password is not None) as at:
        app = create_app(Workspace(root, queue), token=token, password=password)
        serving = run(app, at, on_ready=lambda url: on_ready(f"{url}/?token={token}"), on_end=app.state.ending.set)
        asyncio.run(serving)
