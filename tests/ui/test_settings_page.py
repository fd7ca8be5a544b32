"""The page of settings: what this machine can do, the models that lie here, the worker, the token."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from ui.conftest import TOKEN, Served, held_back

from weitiao.models.on_disk import models_on_disk


def test_a_new_token_counts_at_once_and_the_old_one_no_more(client: TestClient) -> None:
    told = client.post("/api/token").json()
    assert told["url"].endswith(f"/?token={told['token']}")
    client.cookies.clear()
    assert client.get("/api/worker").status_code == 401
    assert client.get("/api/worker", headers={"Authorization": f"Bearer {told['token']}"}).status_code == 200
    assert told["token"] != TOKEN


def test_models_are_found_with_what_they_take(client: TestClient, tmp_path: Path) -> None:
    cache = tmp_path / "models"
    for name, files in {
        "a-1234-v1": ("model.safetensors", "config.json"),
        "a-tokenizer-1-v1": ("config.json",),
    }.items():
        (cache / name).mkdir(parents=True)
        for file in files:
            (cache / name / file).write_bytes(b"x" * 100)
    found = {one.name: one for one in models_on_disk(cache_dir=cache)}
    assert (found["a-1234-v1"].num_bytes, found["a-1234-v1"].kind) == (200, "converted")
    assert "a-tokenizer-1-v1" not in found
    assert found["smollm2-135m"].num_bytes > 2**20
    assert "smollm2-135m" in [one["name"] for one in client.get("/api/models").json()]


def test_the_page_says_what_works_here_and_remembers_light_and_dark(page: Page, served: Served) -> None:
    held = held_back(page, "**/settings/machine")
    page.goto(served.url.replace("/?", "/settings?"))
    expect(page.locator("#machine .busy")).to_be_visible()
    held[0].continue_()
    page.locator("#machine table").wait_for()
    told = page.request.get(served.url.replace("/?", "/api/doctor?")).json()
    assert page.locator("#machine tbody tr").count() == len(told["features"])
    page.locator("[data-theme-is=dark]").click()
    page.reload()
    expect(page.locator("[data-theme-is=dark]")).to_have_attribute("aria-pressed", "true")
    assert page.locator("html").get_attribute("data-theme") == "dark"
