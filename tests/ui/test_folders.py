"""What lies below a folder is read again where it changed, and nowhere else."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from weitiao.ui.folders import Folders


def names(folders: Folders) -> dict[str, str]:
    return {one.path.name: one.kind for one in folders}


def test_changes_are_seen_at_once_and_what_did_not_change_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "work"
    for name in ("a/runs/1", "a/data", ".hidden", "b"):
        (root / name).mkdir(parents=True)
    (root / "link").symlink_to(root / "a")
    for name in ("a", "a/runs/1", ".hidden"):
        (root / name / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    folders = Folders(root)
    assert names(folders) == {"work": "", "a": "project", "data": "", "runs": "", "1": "project", "b": ""}
    (root / "a/runs/1/metrics.jsonl").touch()  # in the same moment, for all that the file system says
    (root / "a/runs/1/checkpoints").mkdir()
    assert names(folders) == {"work": "", "a": "project", "data": "", "runs": "", "1": "run", "b": ""}
    assert next(one for one in folders if one.kind == "run").written == pytest.approx(time.time(), abs=5)
    for path in (root, *root.rglob("*/")):
        os.utime(path, (1e9, 1e9))
    before = names(folders)
    read: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (read.append(str(path)), scan(path))[1])
    assert (names(folders), read) == (before, [])
    (root / "b" / "recipe.yaml").write_text("model: m\n", encoding="utf-8")
    shutil.rmtree(root / "a/runs/1")
    read.clear()
    assert names(folders) == {"work": "", "a": "project", "data": "", "runs": "", "b": "project"}
    assert sorted(read) == [str(root / "a/runs"), str(root / "b")]
