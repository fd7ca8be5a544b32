"""The section `data`: what it accepts, what it says about the rest, and which path means what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from weitiao.data.config import DataConfig
from weitiao.data.reading.paths import labels, resolve_paths
from weitiao.errors import DataError


def section(**values: Any) -> DataConfig:
    return DataConfig.model_validate(values)


@pytest.mark.parametrize("train", ["a.jsonl", Path("a.jsonl"), {"path": "a.jsonl"}, ["a.jsonl"], [{"path": "a.jsonl"}]])
def test_a_path_a_source_and_a_list_mean_the_same(train: Any) -> None:
    config = section(train=train)
    assert [source.path for source in config.train] == ["a.jsonl"]
    assert config == DataConfig.model_validate(config.model_dump())
    assert list(config.sources) == ["train"]
    assert config.fractions == {}


def test_held_out_parts_are_fractions_or_sources() -> None:
    config = section(train="a.jsonl", validation=0.1, test=["b.jsonl", {"path": "c.jsonl"}])
    assert (config.fractions, list(config.sources)) == ({"validation": 0.1}, ["train", "test"])
    assert [source.path for source in config.sources["test"]] == ["b.jsonl", "c.jsonl"]
    assert config == DataConfig.model_validate(config.model_dump(mode="json"))


def test_a_bare_held_out_path_is_read_like_the_training_source() -> None:
    train = {"path": "a.csv", "prompt": "{{ text }}", "completion": "{{ label }}", "limit": 5, "weight": 2.0}
    (test,) = section(train=train, test="b.csv").sources["test"]
    assert (test.path, test.prompt, test.completion) == ("b.csv", "{{ text }}", "{{ label }}")
    assert (test.limit, test.weight) == (None, 1.0)
    (own,) = section(train=train, test={"path": "b.csv"}).sources["test"]
    assert own.prompt is None
    (many,) = section(train=[train, "c.csv"], test="b.csv").sources["test"]
    assert many.prompt is None


@pytest.mark.parametrize(
    ("values", "place", "message"),
    [
        ({}, "train", "Field required"),
        ({"train": []}, "train", "names no source"),
        ({"train": 3}, "train", "must be a path, a source"),
        ({"train": ""}, "train.0.path", "at least 1 character"),
        ({"train": {"path": "a", "colums": {}}}, "train.0.colums", "Extra inputs"),
        ({"train": {"path": "a", "columns": {"promt": "q"}}}, "train.0.columns.promt", "'prompt'"),
        ({"train": {"path": "a", "format": "alpacca"}}, "train.0.format", "'alpaca'"),
        ({"train": {"path": "a", "weight": 0}}, "train.0.weight", "greater than 0"),
        ({"train": {"path": "a", "limit": 0}}, "train.0.limit", "greater than or equal to 1"),
        ({"train": {"path": "a", "prompt": "{{ text"}}, "train.0.prompt", "no valid Jinja template"),
        ({"train": {"path": "a", "prompt": "x", "format": "alpaca"}}, "train.0", "must be auto or prompt_completion"),
        ({"train": {"path": "a", "prompt": "x", "columns": {"prompt": "q"}}}, "train.0", "given twice"),
        ({"train": {"path": "a", "system": "x", "format": "text"}}, "train.0", "no system turn"),
        ({"train": "a", "test": 1}, "test.fraction", "less than 1"),
        ({"train": "a", "test": 0.0}, "test.fraction", "greater than 0"),
        ({"train": "a", "test": True}, "test.sources", "must be a path, a source"),
        ({"train": "a", "test": 0.5, "validation": 0.5}, "", "must leave rows to train on"),
        ({"train": "a", "test": {"path": "b", "weight": 2}}, "", "scored once each"),
        ({"train": "a", "on_bad_rows": "drop"}, "on_bad_rows", "'error' or 'skip'"),
    ],
)
def test_what_is_wrong_in_the_section_is_named(values: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        section(**values)
    problems = [(".".join(map(str, e["loc"])).removesuffix(".[key]"), e["msg"]) for e in caught.value.errors()]
    assert any(where == place and message in said for where, said in problems), problems


def test_the_json_schema_accepts_the_short_forms() -> None:
    schema = DataConfig.model_json_schema()["properties"]
    assert {"type": "string"} in [{"type": option.get("type")} for option in schema["train"]["anyOf"]]
    assert schema["on_bad_rows"]["description"].startswith("`error` stops")


def test_paths_are_found_in_the_recipes_folder_first_and_the_result_stays_put(tmp_path: Path) -> None:
    recipe, here = tmp_path / "recipe", tmp_path / "here"
    for folder in (recipe, here):
        folder.mkdir()
        (folder / "a.jsonl").touch()
    (here / "b.csv").touch()
    (here / "owner" / "name").mkdir(parents=True)
    config = section(train=["a.jsonl", "b.csv", "owner/name"], test=str(here / "b.csv"), validation="owner/absent")
    resolved = resolve_paths(config, (recipe, here))
    paths = [source.path for source in resolved.train]
    assert paths == [str(recipe / "a.jsonl"), str(here / "b.csv"), str(here / "owner" / "name")]
    assert resolved.sources["test"][0].path == str(here / "b.csv")
    assert resolved.sources["validation"][0].path == "owner/absent"
    assert resolve_paths(resolved, (tmp_path,)) == resolved


@pytest.mark.parametrize("path", ["tickts.jsonl", "./data", "/no/such/file", "a/b/c", "~/no-such-data", "a b"])
def test_a_missing_file_is_no_hub_id(tmp_path: Path, path: str) -> None:
    (tmp_path / "tickets.jsonl").touch()
    with pytest.raises(DataError, match="no such file or directory; looked in") as caught:
        resolve_paths(section(train=path), (tmp_path,))
    if path == "tickts.jsonl":
        assert str(tmp_path) in caught.value.what
        assert caught.value.remedy == f"Did you mean {tmp_path / 'tickets.jsonl'}?"


def test_labels_take_as_many_folders_as_they_need() -> None:
    paths = ["/d/x/train/a.json", "/d/y/train/a.json", "/d/b.json", "owner/a", "/d/b.json"]
    assert labels(paths) == ("x/train/a.json", "y/train/a.json", "b.json", "owner/a", "b.json(2)")


def test_the_section_is_imported_without_heavy_libraries() -> None:
    heavy = ["torch", "datasets", "pyarrow", "numpy", "jinja2"]
    code = f"import sys, weitiao.data.config; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
