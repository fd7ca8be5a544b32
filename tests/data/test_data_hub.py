"""Hub data sets: read from the cache offline, through `datasets` itself, in a process that has no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from weitiao.data.config import DataConfig
from weitiao.data.load import load_data
from weitiao.errors import DataError

ROWS = [{"prompt": "one?", "completion": "1"}, {"prompt": "two?", "completion": "2"}]

# Lays out the cache as `datasets` does after a download, and loads by id.
SCRIPT = """
import json, shutil, sys
from pathlib import Path
from datasets.packaged_modules.json.json import Json
from weitiao.data.config import DataConfig
from weitiao.data.load import load_data
from weitiao.errors import DataError

cache, file = Path(sys.argv[1]), sys.argv[2]
builder = Json(cache_dir=str(cache), dataset_name="tiny", config_name="default", hash="0", data_files={"train": [file]})
builder.download_and_prepare()
built = cache / "owner___tiny" / "default" / "0.0.0" / "0"
shutil.move(builder.cache_dir, built)
info = json.loads((built / "dataset_info.json").read_text())
(built / "dataset_info.json").write_text(json.dumps({**info, "config_name": "default"}))

results = {}
for source in ({"path": "owner/tiny"}, {"path": "owner/tiny", "split": "test"}, {"path": "owner/absent"}):
    try:
        data = load_data(DataConfig.model_validate({"train": source}))
        result = [[example.row_id, example.prompt[0]["content"], example.answer] for example in data.train]
    except DataError as error:
        result = str(error)
    results[" ".join(source.values())] = result
print(json.dumps(results))
"""


def test_a_hub_data_set_is_read_from_the_cache_offline_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    cache = tmp_path / "cache"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(cache), str(file)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["owner/tiny"] == [["owner/tiny:1", "one?", "1"], ["owner/tiny:2", "two?", "2"]]
    assert "owner/tiny" in results["owner/tiny test"] and "train" in results["owner/tiny test"]
    assert "owner/absent: the hub data set cannot be loaded" in results["owner/absent"]


def test_a_directory_written_by_save_to_disk_is_read_by_split(tmp_path: Path) -> None:
    train, test = datasets.Dataset.from_list(ROWS), datasets.Dataset.from_list(ROWS[:1])
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / "saved")
    data = load_data(
        DataConfig.model_validate({"train": tmp_path / "saved", "test": {"path": tmp_path / "saved", "split": "test"}})
    )
    assert [example.answer for example in data.train] == ["1", "2"]
    assert [example.answer for example in data.test] == ["1"]
    assert data.summaries[0].kind == "saved data set"
    with pytest.raises(DataError, match="no split `dev`"):
        load_data(DataConfig.model_validate({"train": {"path": tmp_path / "saved", "split": "dev"}}))
