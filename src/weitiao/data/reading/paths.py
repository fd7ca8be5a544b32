"""Which file, directory or hub data set a source's path means."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.reading.opening import COMPRESSED, data_suffix
from weitiao.data.reading.rows import shown
from weitiao.errors import DataError, Phrase
from weitiao.paths import exists, find_path, places_of

DATA_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")
_NUM_NAMED = 5
_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev", "eval"), "validation"),
    "test": "test",
}
"""The part that a word of a file's name stands for."""


def resolve_paths(config: DataConfig, base_dirs: Sequence[Path]) -> DataConfig:
    """Makes every source's path absolute, or leaves it as the id of a hub data set.

    Args:
        config: The recipe's section.
        base_dirs: Where a relative path is looked up, in this order: the recipe's folder, the current one.

    Returns:
        The same section with absolute paths. Applying the function again changes nothing.

    Raises:
        DataError: A path that can only be a file (it has the suffix of one, begins with `.`, `/` or `~`, or has more
            parts than a hub id) does not exist.
    """
    update: dict[str, Any] = {part: resolve_sources(given, base_dirs) for part, given in config.sources.items()}
    if config.replay is not None:
        (update["replay"],) = update["replay"]
    return config.model_copy(update=update)


def resolve_sources(sources: Iterable[SourceConfig], base_dirs: Sequence[Path]) -> tuple[SourceConfig, ...]:
    """Does to some sources what `resolve_paths` does to those of a recipe."""
    return tuple(one.model_copy(update={"path": _resolve(one.path, base_dirs)}) for one in sources)


def _resolve(path: str, base_dirs: Sequence[Path]) -> str:
    found = find_path(path, base_dirs)
    if found is not None:
        return str(found)
    wanted, candidates = Path(path), places_of(path, base_dirs)
    if data_suffix(wanted) not in DATA_SUFFIXES and _HUB_ID.fullmatch(path):
        return path
    places = " and ".join(dict.fromkeys(str(candidate.parent) for candidate in candidates))
    what = Phrase("{path}: no such file or directory; looked in {places}.", path=path, places=places)
    raise DataError(what, _advice(wanted.name, candidates))


def _advice(name: str, candidates: Sequence[Path]) -> str:
    for candidate in candidates:
        folder = candidate.parent
        if exists(folder) and folder.is_dir():
            close = difflib.get_close_matches(name, [entry.name for entry in folder.iterdir()], n=1)
            if close:
                return Phrase("Did you mean {name}?", name=shown(folder / close[0]))
    return "Give a path relative to the recipe's folder or the current one, an absolute path, or a hub id (owner/name)."


def data_files(path: Path, split: str | None) -> tuple[Path, ...]:
    """The data files that a local path stands for.

    Args:
        path: A file, or a directory whose data files (not those of its sub-directories) are taken in order of name.
        split: In a directory, take only files whose names begin with this.

    Raises:
        DataError: The file is of an unknown kind, the directory has no data file (of that split), or it has files of
            several splits and none was asked for.
    """
    known = f"{', '.join(DATA_SUFFIXES)}, and {', '.join(COMPRESSED)} behind them"
    if not path.is_dir():
        if data_suffix(path) not in DATA_SUFFIXES:
            raise DataError(f"{shown(path)}: the kind of file is not known.", f"Known kinds are {known}.")
        if split is not None:
            raise DataError(f"{shown(path)}: a file has no splits, but `split: {split}` is set.", "Remove `split`.")
        return (path,)
    files = [file for file in sorted(path.iterdir()) if _is_data(file) and file.name.startswith(split or "")]
    if not files:
        which = f" whose name begins with `{split}`" if split else ""
        raise DataError(f"{shown(path)}: the directory holds no data file{which}.", f"Known kinds are {known}.")
    splits = {SPLIT_NAMES[word] for f in files if (word := re.split(r"[^a-z]", f.name.lower())[0]) in SPLIT_NAMES}
    if split is None and len(splits) > 1:
        raise DataError(
            f"{shown(path)}: the directory holds files of several splits ({', '.join(sorted(splits))}).",
            "Add `split: train` to the source, or name one file.",
        )
    return tuple(files)


def passed_over(path: Path, files: Sequence[Path]) -> str:
    """What lies in a directory beside the data files that are read, in words; empty when there is nothing.

    Args:
        path: The path of a source.
        files: What is read of it; the path itself where it is no directory of data files.
    """
    if path in files:
        return ""
    others = [one for one in sorted(path.iterdir()) if one not in files and not one.name.startswith(".")]
    names = [f"{one.name}/" if one.is_dir() else one.name for one in others]
    rest = f" and {len(names) - _NUM_NAMED:,} more" if len(names) > _NUM_NAMED else ""
    return f"files that are not read: {', '.join(names[:_NUM_NAMED])}{rest}" if names else ""


def _is_data(path: Path) -> bool:
    return data_suffix(path) in DATA_SUFFIXES and not path.name.startswith(".") and path.is_file()


def labels(paths: Sequence[str]) -> tuple[str, ...]:
    """Short names that tell the files apart and do not depend on where the data lies on this machine.

    Args:
        paths: Absolute paths or hub ids; the same one may come more than once.

    Returns:
        For each path its last part, with as many folders before it as make it unique; a path that comes again gets
        `(2)`, `(3)`, ... after its name.
    """
    depth = dict.fromkeys(paths, 1)
    names: dict[str, str] = {}
    while True:
        names = {p: "/".join(Path(p).parts[-depth[p] :]) if Path(p).is_absolute() else p for p in depth}
        counts = Counter(names.values())
        clashing = [p for p in depth if counts[names[p]] > 1 and depth[p] < len(Path(p).parts)]
        if not clashing:
            break
        for path in clashing:
            depth[path] += 1
    seen: Counter[str] = Counter()
    result = []
    for path in paths:
        seen[path] += 1
        result.append(names[path] + (f"({seen[path]})" if seen[path] > 1 else ""))
    return tuple(result)
