"""GGUF files converted once, and kept in the user's cache directory."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError

from weitiao.errors import ModelError
from weitiao.files import sha256, sync

_logger = logging.getLogger(__name__)

# Part of the directory's name: a converter that writes something else must not find what an older one wrote.
_FORMAT = "v1"


def default_cache_dir() -> Path:
    """Where converted models are kept: `models` in this program's cache directory (`XDG_CACHE_HOME` on Linux)."""
    return user_cache_path("weitiao") / "models"


def converted_gguf(path: Path, *, cache_dir: Path | None = None) -> Path:
    """The Hugging Face directory made from a GGUF file; made now if it is not in the cache.

    The directory is named after the file's content, so a changed file is converted anew. It is written beside its
    place and renamed when it is complete and on disk; of two processes that start at once, one converts.

    Args:
        path: The GGUF file.
        cache_dir: The directory of converted models; `default_cache_dir()` by default.

    Returns:
        The directory, complete.

    Raises:
        ModelError: The file cannot be converted, or the cache cannot be written.
    """
    cache_dir = default_cache_dir() if cache_dir is None else cache_dir
    try:
        digest = sha256(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check the file and its permissions.") from error
    directory = cache_dir / f"{path.stem}-{digest[:12]}-{_FORMAT}"
    if directory.is_dir():
        return directory
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.with_name(directory.name + ".lock")):
            if not directory.is_dir():
                _convert_into(path, directory)
    except (OSError, SafetensorError) as error:  # a full disk is the one or the other, whoever writes just then
        raise ModelError(
            f"The model converted from {path} cannot be kept in {cache_dir}: {error}.",
            "Make room or fix the permissions there, or point XDG_CACHE_HOME at another place.",
        ) from error
    return directory


def _convert_into(path: Path, directory: Path) -> None:
    """Convert beside `directory`, then rename. The caller holds the lock, so what lies there is left over."""
    from weitiao.models.gguf import convert_gguf

    _logger.info("Converting %s, once; later starts take it from %s.", path, directory)
    prefix = f"{directory.name}.partial-"
    for leftover in directory.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        convert_gguf(path, partial)
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        partial.rename(directory)
        sync(directory.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
