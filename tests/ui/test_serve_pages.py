"""Exports and servers: started by the pages, found again by the next ones, asked through them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

from weitiao.ui.app import create_app
from weitiao.ui.workspace import Workspace

TOKEN = "a-token-of-the-tests"
SECONDS = 90.0


@pytest.fixture
def ready(client: TestClient, workspace: Workspace, tiny_llama_dir: Path) -> Iterator[dict[str, Any]]:
    """A server of a tiny model, with an A/B route to itself."""
    (workspace.root / "tiny").symlink_to(tiny_llama_dir)
    new = {"targets": ["a=smollm2-none"], "engine": "own"}
    assert client.post("/api/servers", json={**new, "targets": ["--host=0.0.0.0"]}).status_code == 400
    assert client.post("/api/servers", json={**new, "targets": ["a=/etc"]}).status_code == 403
    assert client.post("/api/servers", json={**new, "targets": ["tiny"]}).status_code == 403  # a link leads out
    (workspace.root / "tiny").unlink()
    (workspace.root / "tiny").mkdir()
    for path in tiny_llama_dir.iterdir():
        (workspace.root / "tiny" / path.name).hardlink_to(path)
    started = client.post("/api/servers", json={**new, "targets": ["a=tiny", "b=tiny"], "route": "a=0.5,b=0.5"}).json()
    until = time.monotonic() + SECONDS
    while (facts := client.get(f"/api/servers/{started['id']}").json())["state"] == "loading":
        assert time.monotonic() < until
        time.sleep(0.1)
    assert facts["state"] == "ready", facts["said"]
    yield facts
    client.post(f"/api/servers/{started['id']}/stop")


def test_a_server_outlives_the_pages_is_asked_through_them_and_stops(
    ready: dict[str, Any], workspace: Workspace
) -> None:
    later = TestClient(
        create_app(workspace, token=TOKEN), base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    base = f"/api/servers/{ready['id']}"
    assert [one["id"] for one in later.get("/api/servers").json()] == [ready["id"]]
    ask = {"model": "a", "messages": [{"role": "user", "content": "a small model"}], "max_tokens": 8, "seed": 1}
    whole = later.post(f"{base}/v1/chat/completions", json=ask).json()["choices"][0]["message"]["content"]
    streamed = later.post(f"{base}/v1/chat/completions", json={**ask, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    events = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"]]
    assert "".join(deltas) == whole
    assert later.get(f"{base}/route").json()["weights"] == {"a": 0.5, "b": 0.5}
    later.post(f"{base}/route", json={"weights": {"a": 1.0, "b": 0.0}})
    assert later.get(f"{base}/route").json()["previous"] == {"a": 0.5, "b": 0.5}
    page = later.get("/serve")
    assert page.status_code == 200
    assert ready["url"] in page.text
    pid = next(one.pid for one in workspace_servers(workspace))
    later.post(f"{base}/stop")
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=30)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert later.get("/api/servers").json() == []


def workspace_servers(workspace: Workspace) -> list[Any]:
    from weitiao.ui.servers import Servers

    return Servers(workspace.jobs.home).all()


def test_a_server_that_cannot_start_says_why(client: TestClient, workspace: Workspace) -> None:
    started = client.post("/api/servers", json={"targets": ["tickets"], "engine": "own"}).json()
    until = time.monotonic() + SECONDS
    while (facts := client.get(f"/api/servers/{started['id']}").json())["state"] == "loading":
        assert time.monotonic() < until
        time.sleep(0.1)
    assert facts["state"] == "ended"
    assert "tickets" in facts["said"]
    assert client.get("/serve").status_code == 200
    client.post(f"/api/servers/{started['id']}/stop")


def test_what_was_exported_is_shown_and_more_is_a_job(client: TestClient, workspace: Workspace) -> None:
    run = "tickets/runs/1"
    assert client.get(f"/api/runs/{run}/exports").json()["table"]["rows"]
    assert client.get(f"/runs/{run}/export").status_code == 200
    wrong = client.post(f"/api/runs/{run}/exports", json={"formats": ["awq"]})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (400, "awq")
    assert client.post(f"/api/runs/{run}/exports", json={}).json()["error"]["field"] == "formats"
