"""What holds for every page: no invented request finds a bug, nothing is fetched from outside, anybody can read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from axe_playwright_python.sync_playwright import Axe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, Request, expect
from starlette.testclient import TestClient
from ui.conftest import TOKEN, Served, fill, held_back
from workbench import write_recipe

from weitiao.ui.app import AREAS, create_app
from weitiao.ui.workspace import Workspace

RUN = "tickets/runs/1"
PAGES = [*AREAS.values(), "/new", f"/runs/{RUN}", f"/runs/{RUN}/export", f"/runs/{RUN}/report"]
ENDLESS = ("/events", "/demo", "/worker")
"""A stream without an end, and what starts processes."""
PYTHON = sys.executable
"""Before a fixture puts one there that is forked, and has imported everything."""
WIDTHS = (390, 820, 1440)
PROJECT = "/projects/every"
OF_PROJECT = ["/data", "/data/row?row=1", "/task", "/plan?device=rtx-4090"]


@pytest.fixture(scope="module")
def pages(served: Served, tiny_llama_dir: Path) -> list[str]:
    """Every page there is: also those of a project, of which row 9 repeats row 1, and of a store of feedback."""
    recipe = write_recipe(served.root / "every", tiny_llama_dir)
    rows = (recipe.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (recipe.parent / "rows.jsonl").write_text("".join([*rows, rows[0]]), encoding="utf-8")
    fill(recipe.parent / "feedback.db", 4)
    url, _, token = served.url.partition("/?token=")
    headers = {"Authorization": f"Bearer {token}"}
    checked = httpx2.get(f"{url}/api{PROJECT}/data/check", headers=headers, timeout=60.0, trust_env=False)
    assert checked.json()["findings"]  # the page shows them from then on
    return [*PAGES, *(PROJECT + one for one in OF_PROJECT), "/label/every/feedback.db?as=ada"]


def test_no_invented_request_finds_a_bug(workspace: Workspace) -> None:
    app = create_app(workspace, token=TOKEN)
    description = schemathesis.openapi.from_dict(app.openapi())
    codes: dict[int, int] = {}
    operations = [one.ok() for one in description.get_all_operations()]
    with TestClient(
        app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {TOKEN}"}, raise_server_exceptions=False
    ) as client:
        for operation in operations:
            if operation.path.endswith(ENDLESS) or (operation.method == "post" and operation.path == "/api/servers"):
                continue

            @settings(
                max_examples=12, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True, database=None
            )
            @given(operation.as_strategy(), st.just(operation.label))
            def invent(case: Any, name: str) -> None:
                sent = case.as_transport_kwargs(base_url="http://127.0.0.1")
                sent["headers"] = {**sent.get("headers", {}), "Authorization": f"Bearer {TOKEN}"}
                kept = {key: sent[key] for key in ("method", "url", "json", "data", "params", "files") if key in sent}
                reply = client.request(**kept, headers=dict(sent["headers"]))
                codes[reply.status_code] = codes.get(reply.status_code, 0) + 1
                assert reply.status_code < 500, (name, reply.text)

            invent()
    assert len(operations) >= 20
    assert {200, 404} <= codes.keys()


def test_the_page_server_needs_no_pytorch(client: TestClient) -> None:
    before = "torch" in sys.modules
    for path in PAGES:
        client.get(path)
    assert ("torch" in sys.modules) == before


def test_what_is_typed_before_the_scripts_are_there_is_kept(page: Page, served: Served) -> None:
    page.goto(served.url)
    held = held_back(page, "**/static/app.js*")
    page.goto(served.url.replace("/?", "/new?"), wait_until="commit")
    name = page.locator("[name=name]")
    name.fill("tickets")
    held[0].continue_()
    page.wait_for_load_state()
    page.unroute_all()
    page.reload()
    expect(name).to_have_value("tickets")


def test_the_first_page_waits_for_no_heavy_import() -> None:
    code = "import sys, weitiao.ui.app; print(*sys.modules.keys() & {'torch', 'numpy', 'pyarrow', 'weitiao.recipe'})"
    assert subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-GB"), ("dark", "zh-CN")])
def test_every_page_can_be_read_by_anybody(
    browser: Browser, served: Served, pages: list[str], scheme: Any, locale: str
) -> None:
    """axe-core finds nothing serious, nothing is wider than its window, and nothing comes from elsewhere."""
    context = browser.new_context(color_scheme=scheme, locale=locale)
    page = context.new_page()
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    base = served.url.partition("/?")[0]
    page.goto(served.url)
    for path in pages:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if width == WIDTHS[0]:
                page.goto(base + path)
                coming = page.locator(".busy, .htmx-request, [aria-busy=true]")
                expect(coming).to_have_count(0, timeout=60_000)
                page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
        found = Axe().run(page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, (path, serious, [node["html"] for one in found for node in one["nodes"]][:3])
    assert all(address.startswith((base, "data:")) for address in asked)
    context.close()
