"""The pages of a workspace: asked in this process, and behind a real server in a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import server
from playwright.sync_api import Browser, Page, Route, sync_playwright
from sample_run import write_run
from starlette.testclient import TestClient
from workbench import command

from weitiao.feedback.items import item_of
from weitiao.feedback.store import FeedbackStore, Made
from weitiao.ui.app import create_app
from weitiao.ui.workspace import Workspace

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module", autouse=True)
def aside(at_once: None) -> None:
    """What the pages start beside them starts at once."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with one whole run, `tickets/runs/1`, and a queue in which nothing is."""
    root = tmp_path / "work"
    write_run(root / "tickets" / "runs" / "1")
    return Workspace(root, tmp_path / "queue")


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    """A program that has the token."""
    app = create_app(workspace, token=TOKEN)
    with TestClient(
        app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {TOKEN}"}, raise_server_exceptions=False
    ) as asked:
        yield asked


@dataclass(frozen=True, slots=True)
class Served:
    """A server of pages.

    Attributes:
        url: Its first address, with the token.
        root: The folder that it shows.
        queue: That of its jobs.
        process: The server's.
    """

    url: str
    root: Path
    queue: Path
    process: subprocess.Popen[str]


@contextmanager
def serving(root: Path, *, port: int = 0) -> Iterator[Served]:
    """`weitiao ui` in a process of its own."""
    queue = root.parent / "queue"
    words = command("ui", root, "--port", str(port), "--no-open", "--json", "--home", queue, python=server().python)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield Served(json.loads(process.stdout.readline())["url"], root, queue, process)
        process.terminate()


def fill(path: Path, num: int = 24) -> FeedbackStore:
    """Pairs of two models; the answers of the second begin with `tuned`."""
    store = FeedbackStore(path)
    items = [
        item_of(f"q:{k}", ({"role": "user", "content": f"question <b>{k}</b>"},), f"base {k}", f"tuned {k}")
        for k in range(num)
    ]
    store.keep((item, Made("base", {}), Made("tuned", {})) for item in items)
    return store


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`weitiao ui` in a process of its own, over one whole run."""
    root = tmp_path_factory.mktemp("pages") / "work"
    write_run(root / "tickets" / "runs" / "1")
    with serving(root) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window; ended with its tests, since others run event loops of their own."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A person's browser, logged in; what scripts complain about fails the test, what is refused (400) does not."""
    context = browser.new_context(locale="en-GB")
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console",
        lambda said: wrong.append(said.text) if said.type == "error" and "status of 400" not in said.text else None,
    )
    opened.goto(served.url)
    yield opened
    context.close()
    assert not wrong


def held_back(page: Page, address: str) -> list[Route]:
    """The requests of a page for an address, which wait until they are let go on."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(address, hold)
    return held
