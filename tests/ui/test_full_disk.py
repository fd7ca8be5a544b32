"""A disk that fills while something is written: the person is told, nothing half stays, and the pages go on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from workbench import command, environment

SIZE = 2**20
ROWS = "".join(f"how do I open card {i},{i}\n" for i in range(20_000))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """`weitiao ui` over a folder that is a disk of 1 MiB, in a mount namespace of its own."""
    folder = tmp_path_factory.mktemp("disk")
    root, words = folder / "work", command("ui", folder / "work", "--port", "0", "--no-open", "--json")
    root.mkdir()
    script = f"mount -t tmpfs -o size={SIZE} tmpfs {root} && exec {' '.join(words)} --home {folder}/queue"
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url, _, token = json.loads(process.stdout.readline())["url"].partition("/?token=")
        headers = {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False) as client:
            yield client
        process.terminate()


def sent(client: httpx2.Client, name: str, text: str) -> httpx2.Response:
    """A file that says beforehand how large it is to nobody."""
    pieces = (text[at : at + 2**16].encode() for at in range(0, len(text), 2**16))
    return client.put("/api/uploads/one", params={"file": name}, content=pieces)


def files(client: httpx2.Client) -> list[str]:
    """What the pages offer as data: all that lies there."""
    page: list[str] = client.get("/new").text.split("<option>")[1:]
    return [one.partition("<")[0] for one in page if "/" in one.partition("<")[0]]


def refused(reply: httpx2.Response) -> Any:
    assert reply.status_code in (400, 507), reply.text
    return reply.json()["error"]["message"]


def test_what_does_not_fit_leaves_nothing_and_what_fits_comes_later(disk: httpx2.Client, tiny_llama_dir: Path) -> None:
    api = "/api/projects/one/data"
    assert disk.post("/api/projects", json={"name": "one", "model": str(tiny_llama_dir)}).status_code == 201
    assert "disk is full" in refused(sent(disk, "large.csv", "question,answer\n" + ROWS * 4))
    assert files(disk) == []
    # more than half of the disk: a second copy of the rows does not fit
    assert sent(disk, "rows.csv", "question,answer\n" + ROWS).status_code == 201
    etag = disk.get("/api/projects/one/recipe").json()["etag"]
    begun = disk.post(f"{api}/files", json={"files": ["one/data/rows.csv"], "etag": etag})
    assert begun.status_code == 201, begun.text
    before = disk.get(api).json()
    assert "No space left" in refused(disk.post(f"{api}/rows", json={"etag": before["etag"], "drop": [[0, 1]]}))
    assert disk.get(api).json() == before
    # to the last byte: neither a recipe nor the note of a version
    assert "disk is full" in refused(sent(disk, "filler.csv", "x" * SIZE))
    filler = SIZE - len(ROWS)
    while filler > 100:
        filler = filler if sent(disk, f"filler-{filler}.csv", "x" * filler).status_code == 201 else filler // 2
    recipe = disk.get("/api/projects/one/recipe").json()
    changes = {"changes": {"train.epochs": 2}, "etag": recipe["etag"]}
    assert "No space left" in refused(disk.patch("/api/projects/one/recipe", json=changes))
    assert "No space left" in refused(disk.post(f"{api}/split", json={"etag": recipe["etag"], "test": 0.3}))
    assert disk.get("/api/projects/one/recipe").json() == recipe
    assert disk.get(api).json() == before
    assert "No space left" in refused(disk.post("/api/projects", json={"name": "two", "model": "m"}))
    assert disk.get("/api/projects").json() == ["one"]
    assert disk.get("/health").json() == {"status": "ok"}
