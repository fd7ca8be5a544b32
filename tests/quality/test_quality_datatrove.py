"""datatrove with two local workers does what `weitiao data clean` does to single rows."""

from __future__ import annotations

import json
from pathlib import Path

from checking import pair, read_rows, write_rows
from datatrove.executor import LocalPipelineExecutor

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import SourceConfig
from weitiao.quality import datatrove
from weitiao.quality.check import parts_of_files
from weitiao.quality.clean import clean


def test_two_workers_clean_like_one_command(tmp_path: Path) -> None:
    config = CleanConfig(fix=("html", "empty_answer", "personal_data"))
    rows = [pair(f"<b>question</b> {i}", "" if i % 7 == 0 else f"mail ada{i}@mail.org") for i in range(1_400)]
    for shard in range(2):
        write_rows(tmp_path / "shards" / f"{shard}.jsonl", rows[shard * 700 : (shard + 1) * 700])
    pipeline = [
        datatrove.read_rows(tmp_path / "shards"),
        datatrove.CleanRows(
            config, SourceConfig(path="shards"), datatrove.write_rows(tmp_path / "gone", compression=None)
        ),
        datatrove.write_rows(tmp_path / "kept", compression=None),
    ]
    LocalPipelineExecutor(pipeline=pipeline, tasks=2, workers=2, logging_dir=str(tmp_path / "logs")).run()
    kept = [row for file in sorted((tmp_path / "kept").iterdir()) for row in read_rows(file)]
    gone = [row for file in sorted((tmp_path / "gone").iterdir()) for row in read_rows(file)]

    clean(parts_of_files([write_rows(tmp_path / "all.jsonl", rows)]), config, tmp_path / "out")
    assert kept == read_rows(tmp_path / "out" / "cleaned.jsonl")
    assert kept[0] == pair("question 1", "mail [e-mail removed]")
    rejected = read_rows(tmp_path / "out" / "rejected.jsonl")
    assert [one["data"] for one in gone] == [one["data"] for one in rejected]
    assert {one["kind"] for one in gone} == {"empty_answer"}
    stats = json.loads((tmp_path / "logs" / "stats.json").read_text())
    assert any("kept" in step["stats"] for step in stats)
