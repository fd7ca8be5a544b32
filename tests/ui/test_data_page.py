"""The data of a project in the browser: from files to what is learned, and every change a version that can be left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from ui.conftest import TOKEN, Served

from weitiao.data.load import load_data
from weitiao.recipe import load_recipe
from weitiao.ui.app import create_app
from weitiao.ui.workspace import Workspace

QUESTIONS = [f"how do I {verb} my {thing}" for verb in ("open", "close", "block", "renew") for thing in ("card", "box")]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("data") / "work"
    root.mkdir()
    return Workspace(root, root.parent / "queue")


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    """One for all tests here: what is done aside takes seconds to start."""
    app = create_app(workspace, token=TOKEN)
    with TestClient(app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {TOKEN}"}) as asked:
        yield asked


def table(num_columns: int = 0) -> str:
    """A CSV in which row 9 repeats row 1, and rows have a number of stars for an answer."""
    head = ["said", "stars", *(f"column_{i}" for i in range(num_columns))]
    rows = [[question, str(i % 5), *("x" * num_columns)] for i, question in enumerate([*QUESTIONS, QUESTIONS[0]])]
    rows[-1][1] = "0"
    return "\n".join(",".join(row) for row in [head, *rows]) + "\n"


def begun(client: TestClient, model: Path, text: str, name: str) -> dict[str, Any]:
    client.post("/api/projects", json={"name": name, "model": str(model)})
    sent = client.put(f"/api/uploads/{name}", params={"file": "rows.csv"}, content=text.encode()).json()["file"]
    etag = client.get(f"/api/projects/{name}/recipe").json()["etag"]
    made = client.post(f"/api/projects/{name}/data/files", json={"files": [sent], "etag": etag})
    assert made.status_code == 201, made.text
    return client.get(f"/api/projects/{name}/data").json()  # type: ignore[no-any-return]


def answers(recipe: Path) -> list[tuple[str, str]]:
    """What training reads, without the rows that are held out."""
    data = load_data(load_recipe(recipe).data)
    found = [*data.train, *data.validation, *data.test]
    return sorted((str(one.messages[-2]["content"]), one.answer) for one in found)


def test_from_a_file_to_rows_that_are_right_and_back(
    client: TestClient, workspace: Workspace, tiny_llama_dir: Path
) -> None:
    api, data = "/api/projects/stars/data", begun(client, tiny_llama_dir, table(), "stars")
    project = workspace.project("stars")
    assert [(one["number"], one["what"]) for one in data["versions"]] == [(1, "began")]

    # Columns mean something else: what is learned is the text of the answer alone.
    roles = {"said": "prompt", "stars": "completion"}
    seen = client.post(f"{api}/preview", json={"row": 2, "roles": roles, "templates": {"prompt": "Rate: {{ said }}"}})
    (sequence,) = seen.json()["sequences"]
    learned = "".join(text for text, is_learned, is_special in sequence["pieces"] if is_learned and not is_special)
    assert learned == "2"
    assert "Rate: how do I close my card" in "".join(piece[0] for piece in sequence["pieces"])
    saved = {"row": 2, "roles": roles, "templates": {"prompt": "Rate: {{ said }}"}, "stamp": seen.json()["stamp"]}
    etag = client.post(f"{api}/mapping", json={**saved, "etag": data["etag"]}).json()["etag"]
    assert ("Rate: how do I close my card", "2") in answers(project.recipe)

    # A finding and its rows; mended, it is gone.
    found = client.get(f"{api}/check").json()["findings"]
    (double,) = (one for one in found if one["kind"] == "duplicate")
    assert [row["row"] for row in double["shown"]] == [9]
    mended = client.post(f"{api}/mend", json={"fixes": ["duplicate"], "etag": etag}).json()
    assert (mended["before"], mended["after"]) == (9, 8)

    # A row that changes, one that goes.
    page = client.get("/projects/stars/data/row?row=4").text
    digest = page.partition('name="edit.seen" value="')[2].partition('"')[0]
    edit = {"row": 4, "seen": digest, "values": {"1": "5"}}
    etag = client.post(f"{api}/rows", json={"etag": mended["etag"], "edit": edit}).json()["etag"]
    etag = client.post(f"{api}/rows", json={"etag": etag, "drop": [[0, 1]]}).json()["etag"]
    assert answers(project.recipe) == sorted(
        (f"Rate: {question}", "5" if i == 3 else str(i % 5)) for i, question in enumerate(QUESTIONS) if i
    )

    assert (project.data / "rows.csv").read_text(encoding="utf-8") == table()
    etag = client.post(f"{api}/versions/2", json={"etag": etag}).json()["etag"]
    assert len(answers(project.recipe)) == 9
    data = client.get(api).json()
    assert (data["version"], data["etag"]) == (2, etag)
    assert [one["what"] for one in data["versions"]] == ["dropped", "edited", "mended", "mapped", "began"]


def test_nobody_overwrites_what_he_has_not_seen(client: TestClient, workspace: Workspace, tiny_llama_dir: Path) -> None:
    api, data = "/api/projects/two/data", begun(client, tiny_llama_dir, table(), "two")
    folder = workspace.project("two").data
    stamp = client.post(f"{api}/preview", json={}).json()["stamp"]
    (folder / "rows.csv").write_text(table().replace("card", "cart"), encoding="utf-8")
    changed = client.post(f"{api}/mapping", json={"roles": {}, "etag": data["etag"], "stamp": stamp})
    assert (changed.status_code, changed.json()["error"]["message"]) == (409, "The file was changed meanwhile.")
    edit = {"row": 4, "seen": "another", "values": {"1": "5"}}
    refused = client.post(f"{api}/rows", json={"etag": data["etag"], "edit": edit})
    assert "row 4 is not what it was" in refused.json()["error"]["message"]
    client.post(f"{api}/split", json={"etag": data["etag"], "test": 0.3})
    second = client.post(f"{api}/split", json={"etag": data["etag"], "test": 0.2})
    assert second.status_code == 409
    assert load_recipe(folder.parent / "recipe.yaml").data.test == 0.3
    assert sorted(path.name for path in folder.glob("v*")) == ["v1", "v2"]


def test_files_that_nobody_understands_are_mapped_and_damaged_ones_refused(
    client: TestClient, tiny_llama_dir: Path
) -> None:
    data = begun(client, tiny_llama_dir, "a,b\n1,2\n3,4\n", "three")
    (source,) = client.get("/api/projects/three/data/sources").json()
    assert source["error"]
    assert client.get("/projects/three/data").status_code == 200
    seen = client.post("/api/projects/three/data/preview", json={"roles": {"a": "prompt", "b": "completion"}}).json()
    assert "error" not in seen
    sent = client.put("/api/uploads/three", params={"file": "no.parquet"}, content=b"PAR1").json()["file"]
    refused = client.post("/api/projects/three/data/files", json={"files": [sent], "etag": data["etag"]})
    assert (refused.status_code, "no.parquet" in refused.json()["error"]["message"]) == (400, True)
    outside = client.post("/api/projects/three/data/files", json={"files": ["../x.csv"], "etag": data["etag"]})
    assert outside.status_code == 403


def test_a_full_disk_leaves_nothing(client: TestClient, workspace: Workspace) -> None:
    client.post("/api/projects", json={"name": "full"})
    room = os.statvfs(workspace.root)
    free = room.f_bavail * room.f_frsize
    headers = {"content-length": str(min(free + 1, 2**30))}
    sent = client.put("/api/uploads/full", params={"file": "rows.csv"}, content=b"a,b\n", headers=headers)
    assert sent.status_code in (400, 507)  # what is announced has no room, or does not come
    assert list(workspace.project("full").data.iterdir()) == []


def test_ten_thousand_columns_are_mapped_in_the_browser(page: Page, served: Served, tiny_llama_dir: Path) -> None:
    path = served.root / "wide.csv"
    path.write_text(table(10_000), encoding="utf-8")
    page.goto(served.url.replace("/?", "/new?"))
    page.fill("[name=name]", "wide")
    page.fill("[name=model]", str(tiny_llama_dir))
    page.select_option("[name=there]", "wide.csv")
    page.click("#new button")
    page.wait_for_url("**/projects/wide/data")
    page.locator("#columns tr").nth(39).wait_for(timeout=60_000)
    expect(page.locator("#columns tr")).to_have_count(40)
    page.locator("select[aria-label=said]").select_option("prompt")
    page.locator("select[aria-label=stars]").select_option("completion")
    page.fill("#filter", "column_9876")
    page.locator("select[aria-label=column_9876]").select_option("completion")
    expect(page.locator("#preview .learned").first).to_have_text("0 x", timeout=60_000)
    page.reload()  # what was chosen and not saved is still there
    page.locator("#preview .learned").first.wait_for()
    assert page.locator("select[aria-label=column_9876]").input_value() == "completion"
    page.click("#map button:has-text('Save')")
    page.get_by_text("columns said otherwise").wait_for()
    source = json.loads((served.root / "wide" / "data" / "v2" / "version.json").read_text(encoding="utf-8"))
    assert source["data"]["train"]["completion"] == "{{ stars }}\n{{ column_9876 }}"


def test_a_file_is_dropped_and_a_row_edited_in_chinese(page: Page, served: Served, tiny_llama_dir: Path) -> None:
    page.context.add_cookies([{"name": "language", "value": "zh", "url": served.url.partition("?")[0]}])
    page.goto(served.url.replace("/?", "/new?"))
    page.fill("[name=name]", "dropped")
    page.fill("[name=model]", str(tiny_llama_dir))
    file = {
        "name": "rows.csv",
        "mimeType": "text/csv",
        "buffer": table().replace("said,stars", "question,answer").encode(),
    }
    page.set_input_files("[name=files]", [file])  # type: ignore[list-item]
    page.click("#new button")
    page.wait_for_url("**/data")
    expect(page.locator("#preview .learned").first).to_have_text("0", timeout=60_000)
    page.click("#edit")
    page.fill("textarea >> nth=1", "<b>7</b>")
    page.reload()
    expect(page.locator("textarea >> nth=1")).to_have_value("<b>7</b>")
    page.click("form button")
    expect(page.locator("#preview .learned").first).to_have_text("<b>7</b>", timeout=60_000)
