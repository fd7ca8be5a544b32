"""Rows of files with one type per column, as they were before they had one: Parquet, and what `datasets` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from weitiao.data.reading.opening import loaded_by, opened
from weitiao.data.reading.rows import Notes, Row, shown
from weitiao.errors import DataError

_ABSENT = "have null for keys of objects in lists, which are read as absent keys"


def typed_rows(records: Iterable[dict[str, Any]], notes: Notes) -> Iterator[Row]:
    """Numbers the records, and takes out the keys that one type for all objects has added to each.

    The objects of a list (turns, tool definitions, their parameters) have null for every key that another object of
    the column has. A column that is null or an object itself stays as it is.

    Args:
        records: The records, from column to value.
        notes: Gets the rows that had such keys.
    """
    for number, record in enumerate(records, start=1):
        data = {name: _present(value) if isinstance(value, list) else value for name, value in record.items()}
        if data != record:
            notes.add(_ABSENT, f"row {number}")
        yield Row(number, None, data)


def _present(value: Any) -> Any:
    """The same value without the keys of objects that are null, at any depth."""
    if isinstance(value, dict):
        return {key: _present(inner) for key, inner in value.items() if inner is not None}
    return [_present(inner) for inner in value] if isinstance(value, list) else value


_DAMAGED = "is no intact Parquet file, or holds a value that Python does not have"


def read_parquet(path: Path, notes: Notes) -> Iterator[Row]:
    """Reads the records of a file, some at a time.

    Args:
        path: The file.
        notes: See `typed_rows`.

    Raises:
        DataError: The file cannot be read, is damaged, or has two columns of one name.
    """
    import pyarrow.parquet

    with (
        opened(path) as stream,
        loaded_by("pyarrow", f"{shown(path)}: {_DAMAGED}", "Write or copy the file again."),
        pyarrow.parquet.ParquetFile(stream) as file,
    ):
        names = file.schema_arrow.names
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise DataError(f"{shown(path)}: two columns are named `{double}`.", "Rename one of them.")
        yield from typed_rows((record for batch in file.iter_batches(1024) for record in batch.to_pylist()), notes)


def read_hub(name: str, subset: str | None, split: str | None, notes: Notes) -> Iterator[Row]:
    """Reads one split of a hub data set through `datasets`, which downloads it once and keeps it in its cache.

    `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and `HF_DATASETS_OFFLINE` are respected, since `datasets` does so.

    Args:
        name: The id, `owner/name`.
        subset: Its subset (configuration), if it has several.
        split: The split; `train` when None.
        notes: See `typed_rows`.

    Raises:
        DataError: The data set cannot be had; the message holds what `datasets` says.
    """
    import datasets

    remedy = (
        "Check the id, `subset` and `split`; offline, only data sets in the cache can be read. If you meant a file, "
        "check its path."
    )
    with loaded_by("datasets", f"{name}: the hub data set cannot be loaded", remedy):
        data = datasets.load_dataset(name, subset, split=split or "train")
        yield from typed_rows(data, notes)


def is_saved_dataset(path: Path) -> bool:
    """Whether a directory was written by `datasets`' `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def read_saved_dataset(path: Path, split: str | None, notes: Notes) -> Iterator[Row]:
    """Reads a directory that `save_to_disk` wrote.

    Args:
        path: The directory.
        split: The split, where the directory holds several; `train` when None.
        notes: See `typed_rows`.

    Raises:
        DataError: The directory is damaged, or has no such split.
    """
    import datasets

    with loaded_by("datasets", f"{shown(path)}: the saved data set cannot be read", "Save it again."):
        data = datasets.load_from_disk(str(path))
        if isinstance(data, datasets.DatasetDict):
            wanted = split or "train"
            if wanted not in data:
                raise DataError(f"{shown(path)}: has no split `{wanted}`.", f"Its splits are: {', '.join(data)}.")
            data = data[wanted]
        elif split is not None:
            raise DataError(f"{shown(path)}: has no splits, but `split: {split}` is set.", "Remove `split`.")
        yield from typed_rows(data, notes)
