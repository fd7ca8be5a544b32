"""Formats that transformers runs: the adapter as it is, and the whole model in a number format."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import cast, get_args

from weitiao.errors import ModelError
from weitiao.export.formats import Format, no_check
from weitiao.export.source import Source
from weitiao.export.torch_engine import open_tuned, open_whole
from weitiao.files import COMPLETE
from weitiao.models.directory import StoredDtype

ENGINE = "transformers"
_MERGED = {"merged": "float32", **{f"merged-{dtype}": dtype for dtype in get_args(StoredDtype) if dtype != "float32"}}

NAMES = ("adapter", *_MERGED)


def parse(name: str) -> Format | None:
    """The format of a name; None for a name of others."""
    if name == "adapter":
        return Format(name, 32, ENGINE, no_check, copy_adapter, lambda source: partial(open_tuned, base=source.base))
    if name in _MERGED:
        dtype = cast(StoredDtype, _MERGED[name])
        return Format(
            name,
            32 if dtype == "float32" else 16,
            ENGINE,
            no_check,
            partial(_merge, dtype=dtype),
            lambda source: open_whole,
        )
    return None


def copy_adapter(source: Source, directory: Path) -> None:
    """Copy the adapter as it was trained; the base model stays where it is."""
    if not source.is_adapter:
        raise ModelError(f"{source.final} is no adapter but a whole model.", "Export it as `merged`.")
    shutil.copytree(source.final, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(COMPLETE))


def _merge(source: Source, directory: Path, *, dtype: StoredDtype) -> None:
    source.write_whole(directory, dtype)
