"""Data sets of the Hugging Face hub, and those that `datasets` saved to disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weitiao.data.reading.notes import Notes
from weitiao.data.reading.opening import loaded_by
from weitiao.data.reading.rows import Row, shown
from weitiao.data.reading.typed_rows import typed_rows
from weitiao.errors import DataError


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
