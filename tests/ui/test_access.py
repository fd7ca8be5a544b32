"""Who may use the pages, and who may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient
from ui.conftest import TOKEN

from weitiao.ui.access import token_in
from weitiao.ui.app import create_app
from weitiao.ui.workspace import Workspace

COOKIE = {"cookie": f"weitiao={TOKEN}"}


@pytest.fixture
def stranger(workspace: Workspace) -> TestClient:
    """Somebody who has no token yet."""
    return TestClient(
        create_app(workspace, token=TOKEN), base_url="http://127.0.0.1", follow_redirects=False,
        raise_server_exceptions=False,
    )  # fmt: skip


def test_the_token_moves_from_the_address_into_a_cookie(stranger: TestClient) -> None:
    assert stranger.get("/").status_code == 401
    moved = stranger.get(f"/runs/a?token={TOKEN}&x=1")
    assert (moved.status_code, moved.headers["location"]) == (303, "/runs/a?x=1")
    assert "httponly" in moved.headers["set-cookie"].lower()
    assert "samesite=strict" in moved.headers["set-cookie"].lower()
    assert stranger.get("/").status_code == 200
    assert stranger.get("/?token=wrong", headers={"cookie": ""}).status_code in (200, 401)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (COOKIE, 403),
        ({**COOKIE, "origin": "http://evil.example"}, 403),
        ({**COOKIE, "sec-fetch-site": "cross-site"}, 403),
        ({**COOKIE, "origin": "http://127.0.0.1"}, 404),
        ({**COOKIE, "sec-fetch-site": "same-origin"}, 404),
        ({"authorization": f"Bearer {TOKEN}"}, 404),
        ({"authorization": "Bearer wrong"}, 401),
    ],
)
def test_other_sites_cannot_let_a_browser_act(stranger: TestClient, headers: dict[str, str], status: int) -> None:
    answer = stranger.post("/api/jobs", json={"run": "nowhere"}, headers=headers)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "remedy", "field"}


def test_names_of_other_sites_reach_nothing(stranger: TestClient) -> None:
    headers = {"host": "evil.example", "authorization": f"Bearer {TOKEN}"}
    assert stranger.get("/", headers=headers).status_code == 403


def test_a_password_leads_to_the_cookie(workspace: Workspace) -> None:
    app = create_app(workspace, token=TOKEN, password="open sesame")
    far = TestClient(app, base_url="http://studio.example", follow_redirects=False)
    asked = far.get("/", headers={"accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login")
    assert far.get("/api/jobs").status_code == 401
    assert far.post("/login", data={"password": "wrong"}).status_code == 401
    assert far.post("/login", data={"password": "open sesame"}).status_code == 303
    assert far.get("/").status_code == 200


def test_the_token_stays_over_restarts_until_a_new_one_is_wanted(tmp_path: Path) -> None:
    first = token_in(tmp_path)
    assert token_in(tmp_path) == first
    assert (tmp_path / "ui-token").stat().st_mode & 0o777 == 0o600
    assert token_in(tmp_path, new=True) != first


@pytest.mark.parametrize("name", ["../secret", "tickets/../../secret", "/etc", "link"])
def test_nothing_outside_the_folder_is_shown(client: TestClient, workspace: Workspace, name: str) -> None:
    outside = workspace.root.parent / "secret"
    outside.mkdir()
    for file in ("recipe.yaml", "environment.json"):
        (outside / file).write_text("{}")
    (workspace.root / "link").symlink_to(outside)
    assert client.get(f"/api/runs/{name.replace('..', '%2e%2e')}").status_code in (403, 404)
    assert workspace.runs() == ["tickets/runs/1"]


def test_large_bodies_are_refused(client: TestClient) -> None:
    assert client.post("/api/jobs", content=b"x" * (9 * 2**20)).status_code == 413
