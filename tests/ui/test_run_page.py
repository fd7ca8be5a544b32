"""A run in the browser: its curve, the stream of what is new, its report."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.testclient import TestClient
from ui.conftest import Served, serving

from weitiao.files import COMPLETE
from weitiao.runs.run_dir import RunDir
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
    assert (metrics.train.steps[-1], metrics.train.columns["loss"][-1]) == (10_001, 7.0)
    write_steps(path.with_name("other"), 1, 3)
    path.with_name("other").replace(path)
    metrics.refresh()
    assert list(metrics.train.steps) == [1, 2, 3]


def test_sources_that_come_and_go_keep_their_steps_and_a_step_takes_few_bytes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    sources: list[dict[str, Any]] = [{"a": {"loss": 1.0}}, {"b": {"loss": None}}, {}, {"a": {"loss": 4.0}}]
    lines = [json.dumps({"step": 5 * k, "loss": 0.5, "sources": one}) for k, one in enumerate(sources)]
    lines.insert(2, json.dumps({"step": 5, "validation_loss": 0.1, "validation_accuracy": 0.5}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    metrics = Metrics(path)
    metrics.refresh()
    drawn = metrics.drawn(("loss:a", "loss:b"), 100)["train"]
    assert {name: (one["x"], one["middle"]) for name, one in drawn.items()} == {
        "loss:a": ([0.0, 15.0], [1.0, 4.0]), "loss:b": ([], []),
    }  # fmt: skip
    assert metrics.drawn((), 100)["validation"]["accuracy"]["middle"] == [0.5]
    whole = metrics.train
    assert {whole.steps.itemsize, *(column.itemsize for column in whole.columns.values())} == {4}


def test_the_api_tells_what_the_page_shows(client: TestClient) -> None:
    assert [one["name"] for one in client.get("/api/runs").json()] == ["tickets/runs/1"]
    run = client.get("/api/runs/tickets/runs/1").json()
    assert {step["name"] for step in run["steps"]} >= {"check", "train", "verdict"}
    assert client.get("/api/runs/tickets/runs/2").status_code == 404
    page = client.get("/runs/tickets/runs/2", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_what_commands_of_their_own_left_counts_as_done(client: TestClient, workspace: Workspace) -> None:
    path = workspace.root / "alone"
    path.mkdir()
    (path / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    write_steps(path / "metrics.jsonl", 1, 2)

    def states() -> dict[str, str]:
        return {one["name"]: one["state"] for one in client.get("/api/runs/alone").json()["steps"]}

    assert (states()["train"], states()["eval"]) == ("unfinished", "never")
    (path / "final").mkdir()
    (path / "scores.json").write_text("{}", encoding="utf-8")
    assert (states()["train"], states()["eval"], states()["check"]) == ("done", "done", "never")


@pytest.mark.parametrize(("language", "told", "other"), [("en", "one line", "一句话"), ("zh-CN", "一句话", "one line")])
def test_steps_say_what_came_out_in_the_language_of_the_page(
    client: TestClient, language: str, told: str, other: str
) -> None:
    page = client.get("/runs/tickets/runs/1", headers={"accept": "text/html", "accept-language": language}).text
    assert (told in page, other in page) == (True, False)


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
    exporting = page.locator("#actions a[href='/runs/growing/export']")
    expect(exporting).to_have_count(0)
    (path / "final").mkdir()
    (path / "final" / COMPLETE).touch()
    expect(exporting).to_be_visible(timeout=10_000)  # what one can do now stands there without a reload
    page.reload()
    page.locator("#run[data-steps='30']").wait_for()


def test_a_page_goes_on_by_itself_after_a_sleep_and_after_a_death_of_the_server(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "work" / "growing"
    path.mkdir(parents=True)
    (path / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    write_steps(path / "metrics.jsonl", 1, 20)
    with serving(path.parent) as first:
        page = browser.new_page()
        page.goto(first.url.replace("/?", "/runs/growing?"))
        page.locator("#run[data-steps='20']").wait_for()
        first.process.send_signal(signal.SIGSTOP)  # the lid is closed
        write_steps(path / "metrics.jsonl", 21, 30)
        time.sleep(3)
        first.process.send_signal(signal.SIGCONT)
        page.locator("#run[data-steps='30']").wait_for()
        first.process.kill()
    write_steps(path / "metrics.jsonl", 31, 40)
    with serving(path.parent, port=urlsplit(first.url).port or 0):
        page.locator("#run[data-steps='40']").wait_for()
        page.close()


def test_a_server_that_is_told_to_end_does_not_wait_for_pages_that_listen(workspace: Workspace) -> None:
    with serving(workspace.root) as served:
        address, _, token = served.url.partition("/?token=")
        asked = Request(f"{address}/api/runs/tickets/runs/1/events", headers={"Authorization": f"Bearer {token}"})
        with urlopen(asked) as stream:
            assert stream.readline().startswith(b"retry:")
            served.process.terminate()
            assert stream.read() is not None  # its end comes
        assert served.process.wait(timeout=15) == 0


def test_a_run_of_the_command_line_is_in_the_history_with_where_it_was_made(
    client: TestClient, workspace: Workspace
) -> None:
    page = client.get("/runs/tickets/runs/1").text
    made = client.get("/api/runs/tickets/runs/1/results/environment").json()
    for shown in (made["hardware"]["cpu_name"], made["platform"], *made["versions"].values()):
        assert shown in page
    assert client.get("/api/runs/tickets/runs/1/results/gap-tuned").status_code in (200, 404)
    assert client.get("/api/runs/tickets/runs/1/results/steps").status_code == 422
    assert "Go on" not in page  # it has its verdict
    path = workspace.root / "mine"
    path.mkdir()
    (path / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    write_steps(path / "metrics.jsonl", 1, 3)
    assert "Go on" in client.get("/runs/mine").text
    with RunDir(path).locked():  # as a command that works on it does
        assert not client.get("/api/runs/tickets/runs/1").json()["goes_on"]
        assert client.get("/api/runs/mine").json()["goes_on"]
        assert "Go on" not in client.get("/runs/mine").text
        assert "running" in client.get("/").text


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
