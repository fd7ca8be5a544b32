"""Data sets of the Hugging Face hub, and those that `datasets` saved to disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weitiao.data.rows import Row, shown
from weitiao.errors import DataError


def read_hub(name: str, subset: str | None, split: str | None) -> Iterator[Row]:
    """Reads one split of a hub data set through `datasets`, which downloads it once and keeps it in its cache.

    `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and `HF_DATASETS_OFFLINE` are respected, since `datasets` does so.

    Args:
        name: The id, `owner/name`.
        subset: Its subset (configuration), if it has several.
        split: The split; `train` when None.

    Raises:
        DataError: The data set cannot be had; the message holds what `datasets` says.
    """
    import datasets

    try:
        data = datasets.load_dataset(name, subset, split=split or "train")
    # `datasets` reports a wrong subset or split as ValueError, a loading script as RuntimeError, the rest as OSError
    # (ConnectionError and the errors of the hub's client are among them) or as its own type.
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise DataError(
            f"{name}: the hub data set cannot be loaded: {said}",
            "Check the id, `subset` and `split`; offline, only data sets in the cache can be read. "
            "If you meant a file, check its path.",
        ) from error
    for number, row in enumerate(data, start=1):
        yield Row(number, None, row)


def is_saved_dataset(path: Path) -> bool:
    """Whether a directory was written by `datasets`' `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def read_saved_dataset(path: Path, split: str | None) -> Iterator[Row]:
    """Reads a directory that `save_to_disk` wrote.

    Args:
        path: The directory.
        split: The split, where the directory holds several; `train` when None.

    Raises:
        DataError: The directory is damaged, or has no such split.
    """
    import datasets

    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(path)}: the saved data set cannot be read: {error}", "Save it again.") from error
    if isinstance(data, datasets.DatasetDict):
        wanted = split or "train"
        if wanted not in data:
            raise DataError(f"{shown(path)}: has no split `{wanted}`.", f"Its splits are: {', '.join(data)}.")
        data = data[wanted]
    elif split is not None:
        raise DataError(f"{shown(path)}: has no splits, but `split: {split}` is set.", "Remove `split`.")
    for number, row in enumerate(data, start=1):
        yield Row(number, None, row)
