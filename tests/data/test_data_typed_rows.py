"""Files with one type per column: a key that a row lacks is null there, and absent again when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from weitiao.data.config import DataConfig
from weitiao.data.load import load_data
from weitiao.errors import DataError


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def row(name: str, definition: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    turns = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    return {"messages": turns, "tools": [definition]}


ROWS = [
    row("weather", tool("weather", city={"type": "string"}), city="Oslo"),
    row("convert", tool("convert", amount={"type": "number"}, unit={"enum": ["m", "km"]}), amount=3, unit="km"),
]


def test_tools_with_different_parameters_are_the_same_from_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ROWS))
    data = datasets.Dataset.from_list(ROWS)
    data.to_parquet(tmp_path / "a.parquet")
    data.save_to_disk(tmp_path / "saved")
    expected = load_data(DataConfig.model_validate({"train": str(tmp_path / "a.jsonl")}))
    assert expected.train[0].tools[0] == ROWS[0]["tools"][0]
    for name in ("a.parquet", "saved"):
        found = load_data(DataConfig.model_validate({"train": str(tmp_path / name)}))
        assert [(one.messages, one.tools) for one in found.train] == [
            (one.messages, one.tools) for one in expected.train
        ], name
        assert "read as absent keys: 2 (first: row 1)" in str(found.summaries[0])


def test_null_stays_where_no_list_of_objects_made_it(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "b", "meta": {"x": None, "y": 1}, "marks": [None, 2]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    (example,) = load_data(DataConfig.model_validate({"train": str(tmp_path / "a.parquet")})).train
    assert example.columns == {"meta": {"x": None, "y": 1}, "marks": [None, 2]}


def test_what_the_reader_throws_is_one_error_with_its_cause(tmp_path: Path) -> None:
    # A date that Parquet has and Python has not: a ValueError out of pyarrow's own conversion.
    column = pyarrow.array([10**15], type=pyarrow.int64()).cast(pyarrow.timestamp("s"))
    table = pyarrow.table({"prompt": ["a"], "completion": ["b"], "at": column})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"a\.parquet: is no intact Parquet file, or .*: \w+Error: .*\(pyarrow "
    ) as caught:
        load_data(DataConfig.model_validate({"train": str(tmp_path / "a.parquet")}))
    assert caught.value.__cause__ is not None
    double = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(double, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="two columns are named `text`"):
        load_data(DataConfig.model_validate({"train": str(tmp_path / "b.parquet")}))


def test_a_damaged_saved_data_set_is_an_error(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(DataError, match=r"saved: the saved data set cannot be read: KeyError.*\(datasets "):
        load_data(DataConfig.model_validate({"train": str(tmp_path / "saved")}))
