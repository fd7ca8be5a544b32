"""A run in the browser: its curve, the stream of what is new, its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from ui.conftest import Served

from weitiao.ui.live import Metrics
from weitiao.ui.workspace import Workspace


def write_steps(path: Path, first: int, last: int) -> None:
    with path.open("a", encoding="utf-8") as file:
        for step in range(first, last + 1):
            counted = dict.fromkeys(("num_sequences", "num_tokens", "num_computed_tokens"), 8)
            line = {"step": step, "epoch": step / 100, "loss": 1 / step, "seconds": 0.1, **counted}
            file.write(json.dumps(line) + "\n")


def test_a_drawing_has_every_extreme_and_few_points(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    values = [1.0] * 10_000
    values[4_321], values[8_000] = 9.0, -3.0
    lines = [json.dumps({"step": i + 1, "loss": value}) for i, value in enumerate(values)]
    path.write_text("\n".join(lines) + '\n{"step": 10001, "lo', encoding="utf-8")
    metrics = Metrics(path)
    metrics.refresh()
    drawn = metrics.drawn((), 500)["train"]["loss"]
    assert len(drawn["x"]) <= 500
    assert max(drawn["high"]) == 9.0
    assert min(drawn["low"]) == -3.0
    with path.open("a", encoding="utf-8") as file:
        file.write('ss": 7.0}\n')
    metrics.refresh()
    assert [column[-1] for column in metrics.train["loss"]] == [10_001.0, 7.0]
    write_steps(path.with_name("other"), 1, 3)
    path.with_name("other").replace(path)
    metrics.refresh()
    assert list(metrics.train["loss"][0]) == [1.0, 2.0, 3.0]


def test_the_api_tells_what_the_page_shows(client: TestClient) -> None:
    assert [one["name"] for one in client.get("/api/runs").json()] == ["tickets/runs/1"]
    run = client.get("/api/runs/tickets/runs/1").json()
    assert {step["name"] for step in run["steps"]} >= {"check", "train", "verdict"}
    assert client.get("/api/runs/tickets/runs/2").status_code == 404
    page = client.get("/runs/tickets/runs/2", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_a_run_is_drawn_and_grows_while_it_is_looked_at(page: Page, served: Served) -> None:
    path = served.root / "growing"
    path.mkdir()
    (path / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    write_steps(path / "metrics.jsonl", 1, 20)
    page.goto(served.url.replace("/?", "/runs/growing?"))
    place = page.locator("#run[data-steps='20']")
    place.wait_for()
    write_steps(path / "metrics.jsonl", 21, 30)
    page.locator("#run[data-steps='30']").wait_for()
    expect(page.locator("[data-figure=step]")).to_have_text("30")
    page.reload()
    page.locator("#run[data-steps='30']").wait_for()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_is_shown_as_it_is_written_and_its_button_works(page: Page, served: Served, language: str) -> None:
    page.context.add_cookies([{"name": "language", "value": language, "url": served.url.partition("?")[0]}])
    page.goto(served.url.replace("/?", "/runs/tickets/runs/1/report?"))
    before = page.locator("html").get_attribute("data-theme")
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") != before
    assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[language]


def test_a_workspace_is_its_folder(workspace: Workspace) -> None:
    project = workspace.new_project("one")
    (project.path / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    assert [one.name for one in workspace.projects()] == ["one"]
    assert workspace.runs() == ["tickets/runs/1"]
    (workspace.root / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    assert [workspace.project(one.name) for one in workspace.projects()] == workspace.projects()
    assert workspace.projects()[0].path == workspace.root
