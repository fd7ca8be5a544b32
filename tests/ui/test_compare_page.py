"""Runs beside one another: what sets them apart, their curves, and the answers that changed."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect
from sample_run import write_run
from starlette.testclient import TestClient
from ui.conftest import Served

from weitiao.ui.workspace import Workspace
from weitiao.yaml_text import parse_yaml

FIRST, SECOND = "tickets/runs/1", "tickets/runs/2"


def second_run(root: Path) -> Path:
    """A run like the first, with another setting and three other answers."""
    path = root / SECOND
    if not path.exists():
        write_run(path)
        recipe = path / "recipe.yaml"
        values = parse_yaml(recipe.read_text(encoding="utf-8"), "recipe.yaml")
        values.setdefault("train", {})["batch_size"] = 4321
        recipe.write_text(json.dumps(values), encoding="utf-8")
        answers = path / "predictions.jsonl"
        rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
        right = [row for row in rows if row["grades"]["exact_match"] == 1][:3]
        for row in right:
            row |= {"answer": "<b>wrong</b>", "grades": dict.fromkeys(row["grades"], 0.0)}
        answers.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_settings_scores_and_answers_are_those_of_the_files(client: TestClient, workspace: Workspace) -> None:
    path = second_run(workspace.root)
    told = client.get("/api/compare", params={"runs": [FIRST, SECOND]}).json()
    assert list(told["settings"]) == ["train.batch_size"]
    assert told["settings"]["train.batch_size"][1] == 4321
    scores = json.loads((path / "scores.json").read_text())["metrics"]
    assert [run["metrics"] for run in told["runs"]] == [scores, scores]
    changed = client.get("/api/compare/answers", params={"a": FIRST, "b": SECOND}).json()
    assert (changed["num_worse"], changed["num_better"]) == (3, 0)
    assert {row["after"] for row in changed["worse"]} == {"<b>wrong</b>"}
    assert changed["metrics"]["exact_match"]["paired"]["num_worse"] == 3


def test_what_cannot_be_compared_is_said(client: TestClient, workspace: Workspace) -> None:
    assert client.get("/api/compare", params={"runs": [FIRST]}).status_code == 400
    assert client.get("/compare", params={"runs": [FIRST, "nowhere"]}).status_code == 404
    (second_run(workspace.root) / "predictions.jsonl").unlink()
    part = client.get("/compare/answers", params={"a": FIRST, "b": SECOND}, headers={"accept": "text/html"})
    assert f"{SECOND} has no answers yet." in part.text


def test_the_page_draws_both_and_shows_answers_as_text(page: Page, served: Served) -> None:
    second_run(served.root)
    page.goto(served.url.replace("/?", "/compare?"))
    page.locator("input[name=runs]").nth(0).check()
    page.locator("input[name=runs]").nth(1).check()
    page.locator("main form button").click()
    page.locator("#curve canvas").wait_for()
    expect(page.locator("#curve .u-legend")).to_contain_text(SECOND)
    page.locator(".answers h3").wait_for(timeout=60_000)
    expect(page.locator(".answers .example").first).to_contain_text("<b>wrong</b>")
    page.reload()
    expect(page.locator("main tbody").first).to_contain_text(FIRST)
