"""What holds for every page: no invented request finds a bug, nothing is fetched from outside, anybody can read it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import schemathesis
from axe_playwright_python.sync_playwright import Axe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Request
from starlette.testclient import TestClient
from ui.conftest import TOKEN, Served

from weitiao.ui.app import AREAS, create_app
from weitiao.ui.workspace import Workspace

RUN = "tickets/runs/1"
PAGES = [*AREAS.values(), "/new", f"/runs/{RUN}", f"/runs/{RUN}/export", f"/runs/{RUN}/report"]
ENDLESS = ("/events", "/demo", "/worker")
"""A stream without an end, and what starts processes."""
WIDTHS = (390, 820, 1440)


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_every_page_can_be_read_by_anybody(browser: Browser, served: Served, scheme: Any, locale: str) -> None:
    """axe-core finds nothing serious, nothing is wider than its window, and nothing comes from elsewhere."""
    context = browser.new_context(color_scheme=scheme, locale=locale)
    page = context.new_page()
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    base = served.url.partition("/?")[0]
    page.goto(served.url)
    for path in PAGES:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if width == WIDTHS[0]:
                page.goto(base + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
        found = Axe().run(page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, (path, serious, [node["html"] for one in found for node in one["nodes"]][:3])
    assert all(address.startswith((base, "data:")) for address in asked)
    context.close()
