"""Writing files so that a crash leaves the old ones or the new ones, never half of either."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from weitiao.errors import RunError
from weitiao.json_text import json_text

COMPLETE = "COMPLETE"


@contextmanager
def written_whole(directory: Path) -> Iterator[Path]:
    """Write a directory beside its place, then put it there in one step.

    The marker `COMPLETE` lists size and SHA-256 of every file.

    Args:
        directory: Where it shall be; replaced if it exists.

    Yields:
        The directory to write into. It is removed if anything goes wrong.
    """
    beside = directory.with_name(f"{directory.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        files = sorted(p for p in beside.rglob("*") if p.is_file())
        listing = {str(p.relative_to(beside)): {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in files}
        (beside / COMPLETE).write_text(json.dumps(listing, indent=1), encoding="utf-8")
        for path in (*files, beside / COMPLETE):
            sync(path)
        sync(beside)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if directory.exists():
        shutil.rmtree(directory)
    beside.rename(directory)
    sync(directory.parent)


def check_whole(directory: Path) -> None:
    """Compare a directory with its marker.

    Raises:
        RunError: A file is missing or differs from what was written.
    """
    listing = json.loads((directory / COMPLETE).read_text(encoding="utf-8"))
    for name, facts in listing.items():
        path = directory / name
        size = path.stat().st_size if path.exists() else None
        if size != facts["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise RunError(
                f"{path} {found}, {facts['bytes']} were written: the checkpoint is damaged.",
                f"Remove {directory} to go on from the checkpoint before it.",
            )
        if sha256(path) != facts["sha256"]:
            raise RunError(
                f"{path} is not what was written (its SHA-256 differs): the checkpoint is damaged.",
                f"Remove {directory} to go on from the checkpoint before it.",
            )


@contextmanager
def full_disk_is_named(what: str, remedy: str) -> Iterator[None]:
    """Turn "no space left on device" into an error that says what was being written and what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk in words
        number = getattr(error, "errno", None)
        if number not in (errno.ENOSPC, errno.EDQUOT) and os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise RunError(f"The disk is full: {what} could not be written.", remedy) from error


@contextmanager
def writable(directory: Path, what: str) -> Iterator[None]:
    """Make a directory, and say that it cannot be written when that, or what is written in the block, fails."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RunError(
            f"{what} cannot be written to {directory}: {error.strerror or error}.",
            "Make room or fix the permissions there, or name another directory with --output.",
        ) from error


LOCK_SECONDS = 0.2
"""How long who wants a lock tries to get it: longer than `is_locked` has it."""


def is_locked(path: Path) -> bool:
    """Whether a process has a lock file (`filelock.FileLock`: `flock` on Unix); no, where the file may not be read."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, PermissionError):
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def in_one_step(path: Path) -> Iterator[Path]:
    """Yields a file beside that takes the place of `path` at the end of the block: nobody sees half of it."""
    beside = path.with_name(f"{path.name}.part")
    yield beside
    beside.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one step."""
    with in_one_step(path) as beside:
        beside.write_text(json_text(value, indent=2) + "\n", encoding="utf-8")


def write_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """Write a JSON Lines file in one step; NaN becomes null, other values that JSON does not have become text."""
    with in_one_step(path) as beside, beside.open("w", encoding="utf-8") as stream:
        stream.writelines(json_text(one, default=str) + "\n" for one in values)


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
