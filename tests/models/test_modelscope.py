"""Models of ModelScope by their ids, from a server on this machine that speaks as ModelScope does."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
import torch
from transformers import AutoModelForCausalLM
from workbench import weitiao

from weitiao.errors import ModelError
from weitiao.models.config import ModelConfig
from weitiao.models.fetch import fetch_model
from weitiao.models.load import load_model
from weitiao.models.names import resolve_model

NAME = "modelscope:someone/tiny"
LISTING, FILE = "/api/v1/models/someone/tiny/repo/files", "/api/v1/models/someone/tiny/repo"
"""Paths of ModelScope's API (https://modelscope.cn/docs/models/download)."""


class _ModelScope(BaseHTTPRequestHandler):
    """The list of a repository's files, and each of them, whole or from a byte on."""

    files: Path
    asked: list[tuple[str, str | None]]
    breaks: set[str]

    def do_GET(self) -> None:
        url = urlparse(self.path)
        query = {key: value[0] for key, value in parse_qs(url.query).items()}
        if url.path == LISTING and query["Revision"] == "master":
            listed = [_entry(file) for file in self.files.iterdir()]
            self._answer(json.dumps({"Code": 200, "Success": True, "Data": {"Files": listed}}).encode())
        elif url.path == FILE:
            name = query["FilePath"]
            self.asked.append((name, self.headers["Range"]))
            self._send(name, (self.files / name).read_bytes())
        else:
            self._answer(b'{"Code": 10010205001, "Success": false, "Message": "record not found"}', status=404)

    def _send(self, name: str, content: bytes) -> None:
        start = int(re.findall(r"\d+", self.headers["Range"])[0]) if self.headers["Range"] else 0
        if name in self.breaks:
            self.breaks.remove(name)
            self._answer(content[: len(content) // 2], length=len(content))
            self.close_connection = True
        elif start:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(content[start:], status=206, **{"Content-Range": place})
        else:
            self._answer(content)

    def _answer(self, body: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _entry(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    return {
        "Path": file.name, "Name": file.name, "Type": "blob", "Size": len(content),
        "Sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip


@pytest.fixture
def hub(tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_ModelScope]]:
    """ModelScope on this machine; nothing was fetched from it."""
    handler = type("Handler", (_ModelScope,), {"files": tiny_llama_dir, "asked": [], "breaks": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    for name in ("CACHE", "HOME"):
        monkeypatch.setenv(f"MODELSCOPE_{name}", str(tmp_path / name.lower()))
    yield handler
    server.shutdown()
    server.server_close()


def test_a_model_is_fetched_once_and_its_files_held_against_the_hashes(
    hub: type[_ModelScope], tiny_llama_dir: Path
) -> None:
    done = weitiao("model", "get", NAME, "--json")
    assert done.returncode == 0, done.stderr
    found, names = json.loads(done.stdout), {file.name for file in tiny_llama_dir.iterdir()}
    assert found["num_checked"] == found["num_files"] == len(names)
    asked = len(hub.asked)
    model = load_model(ModelConfig(name=NAME, dtype="float32")).state_dict()
    expected = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).state_dict()
    assert all(torch.equal(model[name], tensor) for name, tensor in expected.items())
    assert len(hub.asked) == asked == len(names)

    weights = Path(found["path"]) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    assert fetch_model(ModelConfig(name=NAME)).num_checked == len(names)
    assert weights.read_bytes() == (tiny_llama_dir / "model.safetensors").read_bytes()
    assert hub.asked[asked:] == [("model.safetensors", None)]


def test_a_download_that_broke_off_goes_on(hub: type[_ModelScope], tiny_llama_dir: Path) -> None:
    hub.breaks.add("model.safetensors")
    path = resolve_model(ModelConfig(name=NAME))
    content = (tiny_llama_dir / "model.safetensors").read_bytes()
    assert (path / "model.safetensors").read_bytes() == content
    assert ("model.safetensors", f"bytes={len(content) // 2}-") in hub.asked


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("modelscope:someone/else", "'modelscope:someone/else' could not be had from ModelScope at http://127.0.0.1"),
        ("modelscope:tiny", "no id of ModelScope"),
    ],
)
def test_what_is_not_there_is_named(name: str, what: str, hub: type[_ModelScope]) -> None:
    with pytest.raises(ModelError, match=what):
        resolve_model(ModelConfig(name=name))
