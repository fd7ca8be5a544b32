"""The task of a project in the browser: what is asked of the tuned model, and what metrics say of an answer."""

from __future__ import annotations

import shutil
from pathlib import Path

from starlette.testclient import TestClient

from weitiao.recipe import load_recipe
from weitiao.ui.workspace import Workspace


def test_what_is_asked_is_in_the_recipe_and_the_baseline_on_the_page(client: TestClient, workspace: Workspace) -> None:
    project = workspace.new_project("one")
    (project.path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n', encoding="utf-8")
    text = "model: m\ndata: {train: rows.jsonl}\nevaluate: {metrics: [exact_match, json_valid]}\n"
    project.recipe.write_text(text, encoding="utf-8")
    etag = client.get("/api/projects/one/task").json()["etag"]
    wanted = {"etag": etag, "metric": "json_valid", "target": 0.8, "suite": "small"}
    saved = client.post("/api/projects/one/task", json=wanted)
    assert saved.status_code == 200, saved.text
    recipe = load_recipe(project.recipe)
    assert [one.title for one in recipe.evaluate.metrics] == ["json_valid", "exact_match"]
    assert (recipe.verdict.target, recipe.retention.suite) == (0.8, "small")
    refused = client.post("/api/projects/one/task", json={**wanted, "etag": saved.json()["etag"], "target": 8})
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "verdict.target")

    baseline: Path = workspace.root / "tickets" / "runs" / "1" / "baseline.json"
    (project.runs / "1").mkdir(parents=True)
    shutil.copy(baseline, project.runs / "1" / "baseline.json")
    for language in ("en", "zh"):
        page = client.get("/projects/one/task", headers={"accept-language": language})
        assert page.status_code == 200
        assert (
            client.get("/api/projects/one/task").json()["baseline"]["advice"]["reasons"][0][language][:20] in page.text
        )


def test_metrics_are_tried_on_an_answer(client: TestClient) -> None:
    found = client.post("/api/grades", json={"expected": "The sum is 42.", "answer": "It makes 42"}).json()
    grades = {one["metric"]: one["grade"] for one in found}
    assert (grades["number"], grades["exact_match"], grades["json_valid"]) == (1.0, 0.0, 0.0)
    assert all(one["about"] or one["problem"] for one in found)
