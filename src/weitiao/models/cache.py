"""Models converted once, GGUF files and other number formats, and kept in the user's cache directory."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError

from weitiao.errors import ModelError
from weitiao.files import sha256, sync
from weitiao.models.fingerprint import model_fingerprint

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)

# Part of the directory's name: a converter that writes something else must not find what an older one wrote.
_FORMAT = "v2"


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
    from weitiao.models.gguf import convert_gguf

    return _kept(path, cache_dir / f"{path.stem}-{digest[:12]}-{_FORMAT}", convert_gguf)


def kept_gguf_tokenizer(path: Path, *, cache_dir: Path | None = None) -> Path:
    """A directory with the tokenizer of a GGUF file alone, for who lets another program run its weights.

    Its `model_max_length` is the context of the model. The directory is named after the file's place, size and time:
    to read a large file whole would take longer than to load it.

    Args:
        path: The GGUF file.
        cache_dir: The directory of converted models; `default_cache_dir()` by default.

    Raises:
        ModelError: The file cannot be read, or the cache cannot be written.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check the file and its permissions.") from error
    from weitiao.models.gguf import write_tokenizer

    digest = hashlib.sha256(f"{path.resolve()}/{found.st_size}/{found.st_mtime_ns}".encode()).hexdigest()
    name = f"{path.stem}-tokenizer-{digest[:12]}-{_FORMAT}"
    return _kept(path, (default_cache_dir() if cache_dir is None else cache_dir) / name, write_tokenizer)


def converted_pickles(path: Path, *, cache_dir: Path | None = None) -> Path:
    """A directory with the weights of `.bin` files as safetensors; made now if it is not in the cache.

    Args:
        path: A directory with such weights and no safetensors.
        cache_dir: The directory of converted models; `default_cache_dir()` by default.

    Raises:
        ModelError: The weights cannot be read, or the cache cannot be written.
    """
    from weitiao.models.pickles import convert_pickles, pickled_weights

    digest = hashlib.sha256()
    for file in (path / "config.json", *pickled_weights(path)):
        digest.update(sha256(file).encode())
    name = f"{path.name}-{digest.hexdigest()[:12]}-{_FORMAT}"
    return _kept(path, (default_cache_dir() if cache_dir is None else cache_dir) / name, convert_pickles)


def in_number_format(path: Path, dtype: torch.dtype, *, cache_dir: Path | None = None) -> Path:
    """A model directory whose weights are in a number format, so that they can be mapped as they lie in the files.

    Args:
        path: A directory with safetensors weights.
        dtype: A floating-point format.
        cache_dir: The directory of converted models; `default_cache_dir()` by default.

    Returns:
        `path` itself where it is in that format; else a directory in the cache, named after the weights.

    Raises:
        ModelError: The weights cannot be read, or the cache cannot be written.
    """
    from weitiao.models.number_format import is_in_format, write_in_format

    if is_in_format(path, dtype):
        return path
    name = f"{path.name}-{model_fingerprint(path)[:12]}-{str(dtype).removeprefix('torch.')}-{_FORMAT}"
    directory = (default_cache_dir() if cache_dir is None else cache_dir) / name
    return _kept(path, directory, lambda source, target: write_in_format(source, target, dtype))


def _kept(path: Path, directory: Path, convert: Callable[[Path, Path], None]) -> Path:
    """The directory in the cache, converted now if it is not there; of two processes that start at once, one does."""
    if directory.is_dir():
        return directory
    cache_dir = directory.parent
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.with_name(directory.name + ".lock")):
            if not directory.is_dir():
                _convert_into(path, directory, convert)
    except (OSError, SafetensorError) as error:  # a full disk is the one or the other, whoever writes just then
        raise ModelError(
            f"The model converted from {path} cannot be kept in {cache_dir}: {error}.",
            "Make room or fix the permissions there, or point XDG_CACHE_HOME at another place.",
        ) from error
    return directory


def _convert_into(path: Path, directory: Path, convert: Callable[[Path, Path], None]) -> None:
    """Convert beside `directory`, then rename. The caller holds the lock, so what lies there is left over."""
    _logger.info("Converting %s, once; later starts take it from %s.", path, directory)
    prefix = f"{directory.name}.partial-"
    for leftover in directory.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        convert(path, partial)
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        partial.rename(directory)
        sync(directory.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
