"""Models of ModelScope (https://modelscope.cn), through `modelscope-hub`, its own client.

It goes on with downloads that broke off, and holds every file against the SHA-256 that ModelScope names. Its own
environment variables count: `MODELSCOPE_ENDPOINT`, `MODELSCOPE_CACHE`, `MODELSCOPE_API_TOKEN`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from weitiao.errors import MissingExtraError, ModelError
from weitiao.files import write_json
from weitiao.models.boundary import reason
from weitiao.models.config import ModelConfig
from weitiao.models.directory import UNWANTED_FILES, WANTED_FILES, read_json_object

PREFIX = "modelscope:"
"""What stands before the id of a model there."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MARKER = ".weitiao.json"
"""In a model's directory: its revision, and the patterns of names whose files are all there."""


def is_modelscope(name: str) -> bool:
    """Whether it names a model there."""
    return name.startswith(PREFIX)


def modelscope_model(config: ModelConfig) -> Path:
    """The directory of a model as it was fetched; where it was not, it is fetched.

    Args:
        config: The `model` section.

    Raises:
        ModelError: There is no such model, or it cannot be had.
        MissingExtraError: The client is not installed.
    """
    with _asking(config) as (api, name):
        from modelscope_hub import CacheNotFound

        try:
            place = Path(api.download_repo(name, "model", revision=_revision(config), local_files_only=True))
        except CacheNotFound:
            place = None
    return place if place is not None and _is_whole(place, config) else fetch_modelscope(config)[0]


def fetch_modelscope(config: ModelConfig) -> tuple[Path, int]:
    """Fetch what is not here, or is not what ModelScope has now.

    Returns:
        The directory, and how many of its files have the hash that ModelScope names.

    Raises:
        ModelError, MissingExtraError: As `modelscope_model`.
    """
    patterns = _patterns(config)
    with _asking(config) as (api, name):
        listed = [
            one
            for one in api.list_repo_files(name, "model", revision=_revision(config))
            if one.type != "tree" and _matches(one.path, patterns) and not _matches(one.path, UNWANTED_FILES)
        ]
        if any(one.path.endswith(".safetensors") for one in listed):
            listed = [one for one in listed if not one.path.endswith(".bin")]
        files = [{"Path": one.path, "Size": one.size or None, "Sha256": one.sha256} for one in listed]
        place = Path(api.download_repo(name, "model", revision=_revision(config), file_list=files))
    write_json(place / _MARKER, {"revision": _revision(config), "patterns": patterns})
    return place, sum(one.sha256 is not None for one in listed)


@contextmanager
def _asking(config: ModelConfig) -> Iterator[tuple[Any, str]]:
    """The client and the id of a model, for a block in which all that the client raises is an error for the user."""
    try:
        from modelscope_hub import HubApi, HubConfig, HubError
    except ModuleNotFoundError as error:
        raise MissingExtraError("A model of ModelScope", "modelscope") from error
    name = config.name.removeprefix(PREFIX)
    if not _ID.fullmatch(name):
        raise ModelError(f"{config.name!r} is no id of ModelScope.", f"Write it as {PREFIX}OWNER/NAME.")
    settings, logger = HubConfig(), logging.getLogger("modelscope_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what is wrong is said once, below
    try:
        yield HubApi(config=settings), name
    except (HubError, OSError) as error:  # those of `requests` are OSErrors
        causes = list(getattr(error, "failed_files", {}).items())
        more = f" ({causes[0][0]}: {reason(causes[0][1])})" if causes else ""
        raise ModelError(
            f"The model {config.name!r}{f' at {config.revision!r}' if config.revision else ''} could not be had from "
            f"ModelScope at {settings.endpoint}: {reason(error)}{more}",
            "Check the spelling, the network and the disk, and try again: what has come is kept.",
        ) from error
    finally:
        logger.setLevel(level)


def _patterns(config: ModelConfig) -> list[str]:
    code, pickles = ["*.py"] if config.trust_remote_code else [], ["*.bin"] if config.allow_pickle else []
    return [*WANTED_FILES, *code, *pickles]


def _matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatch(path, one) for one in patterns)


def _revision(config: ModelConfig) -> str:
    return config.revision or "master"


def _is_whole(place: Path, config: ModelConfig) -> bool:
    """Whether all that a model needs of its revision was fetched into a directory."""
    if not (place / _MARKER).is_file():
        return False
    marker = read_json_object(place / _MARKER)
    return marker.get("revision") == _revision(config) and {*_patterns(config)} <= {*marker.get("patterns", ())}
