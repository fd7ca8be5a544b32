"""The recipe of a project : comments stay, nobody's change is overwritten, nothing wrong is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from weitiao.recipe import load_recipe
from weitiao.ui import recipes
from weitiao.ui.problems import UiError
from weitiao.ui.workspace import Project, Workspace

TEXT = """\
# Ours.
model: m  # small
data:
  train:
    - path: rows.jsonl
      limit: 10
  test: 0.2
train:
  epochs: 3  # enough
  learning_rate: "1e-3"
"""


@pytest.fixture
def project(workspace: Workspace) -> Project:
    made = workspace.new_project("one")
    (made.path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n', encoding="utf-8")
    made.recipe.write_text(TEXT, encoding="utf-8")
    return made


def test_a_change_keeps_what_people_wrote(project: Project) -> None:
    found = recipes.read(project)
    etag = recipes.change(
        project, {"train.epochs": 5, "model.name": "n", "data.train.0.limit": 4, "data.test": None}, found.etag
    )
    text = project.recipe.read_text(encoding="utf-8")
    expected = TEXT.replace("epochs: 3", "epochs: 5").replace("limit: 10", "limit: 4").replace("  test: 0.2\n", "")
    assert text == expected.replace("model: m  # small", "model:    # small\n  name: n")
    assert recipes.read(project).etag == etag != found.etag
    assert load_recipe(project.recipe).train.epochs == 5


def test_of_two_people_the_second_is_told(project: Project) -> None:
    etag = recipes.read(project).etag
    recipes.change(project, {"train.epochs": 5}, etag)
    with pytest.raises(UiError) as told:
        recipes.change(project, {"train.epochs": 6}, etag)
    assert told.value.status == 409
    assert load_recipe(project.recipe).train.epochs == 5


def test_what_cannot_be_used_is_not_written(client: TestClient, project: Project) -> None:
    etag = client.get("/api/projects/one/recipe").json()["etag"]
    refused = client.patch("/api/projects/one/recipe", json={"changes": {"train.epochs": -1}, "etag": etag})
    error = refused.json()["error"]
    assert (refused.status_code, error["field"]) == (400, "train.epochs")
    assert "recipe.yaml:9: `train.epochs`" in error["message"]
    assert project.recipe.read_text(encoding="utf-8") == TEXT
    assert sorted(path.name for path in project.path.iterdir()) == ["data", "recipe.yaml", "rows.jsonl"]


def test_a_project_begins_once(client: TestClient, workspace: Workspace) -> None:
    assert client.post("/api/projects", json={"name": "two", "model": "a: b"}).status_code == 201
    assert client.get("/api/projects/two/recipe").json()["values"] == {"model": "a: b"}
    again = client.post("/api/projects", json={"name": "two"})
    assert (again.status_code, again.json()["error"]["field"]) == (409, "name")
    assert client.post("/api/projects", json={"name": "../two"}).json()["error"]["field"] == "name"
    assert [one.name for one in workspace.projects()] == ["two"]


def test_files_come_whole_or_not_at_all(client: TestClient, workspace: Workspace) -> None:
    client.post("/api/projects", json={"name": "two"})
    sent = [client.put("/api/uploads/two", params={"file": "../rows.csv"}, content=b"a,b\n1,2\n") for _ in range(2)]
    assert [one.json()["file"] for one in sent] == ["two/data/rows.csv", "two/data/rows-2.csv"]
    folder: Path = workspace.root / "two" / "data"
    refused = client.put("/api/uploads/two", params={"file": "rows.exe"}, content=b"MZ")
    assert "kind of file" in refused.json()["error"]["message"]
    large = client.put(
        "/api/uploads/two", params={"file": "big.csv"}, content=b"", headers={"content-length": str(2**31)}
    )
    assert large.status_code == 413
    assert sorted(path.name for path in folder.iterdir()) == ["rows-2.csv", "rows.csv"]
