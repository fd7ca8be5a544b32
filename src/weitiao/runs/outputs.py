"""The files that a step leaves, and whether they still are what it left."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from weitiao.files import COMPLETE, sha256


def find_outputs(run: Path, patterns: Iterable[str]) -> dict[str, str]:
    """The files and complete directories that patterns match, with their digests.

    Args:
        run: The run directory.
        patterns: Names or glob patterns, relative to it.

    Returns:
        Name to digest, in order of name.
    """
    paths = sorted({path for pattern in patterns for path in run.glob(pattern)})
    digests = {path.name: digest_of(path) for path in paths if path.suffix != ".part"}
    return {name: digest for name, digest in digests.items() if digest is not None}


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file; of a directory written whole, that of its marker, which lists size and SHA-256 of its files.

    Returns:
        None when there is no such file, or the directory is not complete (a file is missing or has another size).
    """
    if path.is_file():
        return sha256(path)
    marker = path / COMPLETE
    if not marker.is_file():
        return None
    listing = json.loads(marker.read_text(encoding="utf-8"))
    for name, facts in listing.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != facts["bytes"]:
            return None
    return sha256(marker)


def are_intact(run: Path, outputs: Mapping[str, str]) -> bool:
    """Whether all files are there as they were recorded."""
    return all(digest_of(run / name) == digest for name, digest in outputs.items())


def remove_outputs(run: Path, patterns: Iterable[str]) -> None:
    """Remove what patterns match, half-written files among them."""
    for path in [path for pattern in patterns for path in run.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def combined(digests: Mapping[str, str]) -> str:
    """One digest for several named ones."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
