"""`weitiao ui`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.cli.options import Json


def ui(
    folder: Annotated[Path, typer.Argument(help="What projects and runs lie in.")] = Path(),
    host: Annotated[str, typer.Option(help="Other than 127.0.0.1 it needs a password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8765,
    password_file: Annotated[Path | None, typer.Option(help="A file with the password, for other machines.")] = None,
    new_token: Annotated[bool, typer.Option("--new-token", help="Addresses of before shall be worth nothing.")] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Show the first page in a browser.")] = True,
    home: Annotated[Path | None, typer.Option(help="The folder of the queue; one for each user by default.")] = None,
    json: Json = False,
) -> None:
    """Show the pages: from a file to a tuned, judged and served model without writing code.

    Jobs go on when this ends, or the browser is closed.

    Examples:

        weitiao ui

        weitiao ui ~/models --port 8080 --no-open
    """
    import sys
    import webbrowser
    from importlib.util import find_spec

    from platformdirs import user_state_path

    from weitiao.errors import DataError, MissingExtraError
    from weitiao.paths import read_text

    if find_spec("fastapi") is None or find_spec("python_multipart") is None:
        raise MissingExtraError("`weitiao ui`", "ui")
    from weitiao.ui.start import start

    password = None
    if password_file is not None:
        password = read_text(password_file, DataError, what="--password-file: ").strip()
        if not password:
            raise DataError(f"--password-file: {password_file} is empty.", "Write a password into it.")

    def ready(url: str) -> None:
        if json:
            print_json({"url": url})
        closing_panel(messages(), "Pages", [("address", url)], ["Ctrl-C ends them; jobs go on"])
        if open_browser and sys.stderr.isatty():
            webbrowser.open(url)

    queue = (home or user_state_path("weitiao") / "jobs").absolute()
    start(folder, queue, host=host, port=port, password=password, new_token=new_token, on_ready=ready)


def mcp(
    folder: Annotated[Path, typer.Argument(help="What projects and runs lie in.")] = Path(),
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Let agents change and start things; without it they only look."),
    ] = False,
    home: Annotated[Path | None, typer.Option(help="The folder of the queue; one for each user by default.")] = None,
) -> None:
    """Serve projects, runs and the queue to agents, over MCP on stdin and stdout.

    Examples:

        weitiao mcp ~/models

        weitiao mcp ~/models --allow-changes
    """
    from importlib.util import find_spec

    from platformdirs import user_state_path

    from weitiao.errors import MissingExtraError, RunError

    if find_spec("mcp") is None or find_spec("fastapi") is None:
        raise MissingExtraError("`weitiao mcp`", "ui")
    from weitiao.ui.mcp import create_server
    from weitiao.ui.workspace import Workspace

    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}.", "Name the folder that projects and runs lie in.")
    queue = (home or user_state_path("weitiao") / "jobs").absolute()
    create_server(Workspace(folder, queue), allow_changes=allow_changes).run()
