"""`weitiao model get`: a model brought to this machine, and every file held against the hash that its hub names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from weitiao.errors import ModelError
from weitiao.files import sha256
from weitiao.machine.catalogue import CATALOGUE
from weitiao.models.boundary import reason
from weitiao.models.config import ModelConfig
from weitiao.models.modelscope import fetch_modelscope, is_modelscope
from weitiao.models.names import local_path, resolve_model


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that lies on this machine.

    Attributes:
        name: As it was asked for.
        path: Its directory.
        num_files, num_bytes: What lies there.
        num_checked: Files that have the hash that the hub names; None for a model that came from no hub.
    """

    name: str
    path: Path
    num_files: int
    num_bytes: int
    num_checked: int | None


def fetch_model(config: ModelConfig) -> Fetched:
    """Bring a model here; what a download that broke off has brought is kept, and the rest is fetched.

    Args:
        config: The `model` section.

    Raises:
        ModelError: There is no such model, or a file is not what the hub says it is.
    """
    here = config.name in CATALOGUE or local_path(config.name) is not None
    fetched = None if here or not is_modelscope(config.name) else fetch_modelscope(config)
    path = resolve_model(config)
    checked = fetched[1] if fetched else None if here else _check_hashes(config, path)
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    return Fetched(config.name, path, len(files), sum(file.stat().st_size for file in files), checked)


def _check_hashes(config: ModelConfig, path: Path) -> int:
    """How many files have the hash that the hub names: SHA-256 for large ones, that of Git for the others."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    try:
        listed = list(HfApi().list_repo_tree(config.name, revision=config.revision))
    except Exception as error:  # as in `resolve_model`: the hub's client raises its own errors and those of HTTP
        raise ModelError(
            f"{config.name} lies in {path}, but its hashes could not be had from the hub: {reason(error)}",
            "Use it as it is, or try again with the network.",
        ) from error
    num_checked = 0
    for entry in listed:
        file = path / entry.path
        if not isinstance(entry, RepoFile) or not file.is_file():
            continue
        found, said = (
            (sha256(file), entry.lfs.sha256) if entry.lfs is not None else (_git_hash(file.read_bytes()), entry.blob_id)
        )
        if found != said:
            raise ModelError(
                f"{file} is damaged: its hash is {found[:12]}..., and the hub's file has {said[:12]}....",
                f"Remove {file.resolve()}, and get the model again.",
            )
        num_checked += 1
    return num_checked


def _git_hash(content: bytes) -> str:
    """The name under which Git keeps a file (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects)."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
