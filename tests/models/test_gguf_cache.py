"""The cache of converted GGUF files: made once, by one process, whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_gguf import random_model, train_vocabulary, write_gguf
from transformers import PreTrainedModel

from weitiao.errors import ModelError
from weitiao.models.cache import converted_gguf, default_cache_dir
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model

CONVERT = (
    "import sys; from pathlib import Path; from weitiao.models.cache import converted_gguf;"
    "print(converted_gguf(Path(sys.argv[1]), cache_dir=Path(sys.argv[2])))"
)


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vocabulary = train_vocabulary()
    model: PreTrainedModel = random_model("llama", len(vocabulary[0]))
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model, vocabulary)


def start_conversion(gguf_file: Path, cache_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CONVERT, str(gguf_file), str(cache_dir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_second_use_writes_nothing(gguf_file: Path, tmp_path: Path) -> None:
    directory = converted_gguf(gguf_file, cache_dir=tmp_path)
    before = {file: file.stat().st_mtime_ns for file in directory.iterdir()}
    assert converted_gguf(gguf_file, cache_dir=tmp_path) == directory
    assert {file: file.stat().st_mtime_ns for file in directory.iterdir()} == before
    assert directory.name.startswith("tiny-")


def test_a_changed_file_is_converted_anew(gguf_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny.gguf"
    copy.write_bytes(gguf_file.read_bytes())
    first = converted_gguf(copy, cache_dir=tmp_path / "cache")
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    assert converted_gguf(copy, cache_dir=tmp_path / "cache") != first


def test_two_processes_at_once_get_one_directory_and_no_noise(gguf_file: Path, tmp_path: Path) -> None:
    processes = [start_conversion(gguf_file, tmp_path) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0][0] == outputs[1][0]
    assert [error for _, error in outputs] == ["", ""]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == sorted([Path(outputs[0][0].strip()).suffix, ".lock"])
    load_model(ModelConfig(name=outputs[0][0].strip()))


def test_a_killed_conversion_leaves_no_half_model(gguf_file: Path, tmp_path: Path) -> None:
    process = start_conversion(gguf_file, tmp_path)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*.partial-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob("*.partial-*"))
    assert not list(tmp_path.glob("*-v2"))
    directory = converted_gguf(gguf_file, cache_dir=tmp_path)
    assert not list(tmp_path.glob("*.partial-*"))
    load_model(ModelConfig(name=str(directory)))


def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(gguf_file: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file, not a directory")
    with pytest.raises(ModelError, match=r"cannot be kept in .*cache.*\n.*XDG_CACHE_HOME"):
        converted_gguf(gguf_file, cache_dir=in_the_way)


def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(gguf_file: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a write fails as on a full disk, whoever runs the test
    try:
        with pytest.raises(ModelError, match=r"^The model converted from .*\n.*Make room"):
            converted_gguf(gguf_file, cache_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_the_cache_lies_in_the_users_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "weitiao" / "models"
