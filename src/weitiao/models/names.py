"""From the name in a recipe to a local directory in the Hugging Face layout."""

from __future__ import annotations

import re
from pathlib import Path

from weitiao.errors import ModelError, Phrase
from weitiao.machine.catalogue import CATALOGUE, catalogue_file, closest_name
from weitiao.models.boundary import reason
from weitiao.models.cache import converted_gguf, converted_pickles
from weitiao.models.config import ModelConfig
from weitiao.models.directory import UNWANTED_FILES, WANTED_FILES, checked_directory
from weitiao.models.modelscope import is_modelscope, modelscope_model
from weitiao.models.pickles import pickled_weights
from weitiao.paths import exists, user_path

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve_model(config: ModelConfig, *, cache_dir: Path | None = None) -> Path:
    """The local directory that holds the model a recipe names, made or downloaded where needed.

    A catalogue name comes first, then a path on this machine, then a hub id, of ModelScope if `modelscope:` stands
    before it. The first use of a GGUF file converts it into the user's cache; the first use of a hub id downloads it
    into the hub's own cache (`HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` mean what they mean to every Hugging Face
    library).

    Args:
        config: The `model` section.
        cache_dir: Where converted GGUF files are kept; the user's cache directory by default.

    Returns:
        A directory with `config.json`, safetensors weights and a tokenizer.

    Raises:
        ModelError: There is no such model, or it is not one that can be loaded; the message lists what was tried.
    """
    path = local_path(config.name)
    if config.revision is not None and (config.name in CATALOGUE or path is not None):
        raise ModelError(
            f"model.revision is {config.revision!r}, but {config.name!r} is not a hub id and has no revisions.",
            "Remove model.revision, or name the model by its hub id.",
        )
    if config.name in CATALOGUE:
        return converted_gguf(catalogue_file(config.name), cache_dir=cache_dir)
    if path is not None and path.is_dir():
        return _with_safetensors(path, config, cache_dir)
    if path is not None:
        if path.suffix.lower() != ".gguf":
            raise ModelError(
                f"The model {config.name!r} is a file, but not a .gguf file.",
                "Name the directory that holds config.json and the safetensors weights, or a .gguf file.",
            )
        return converted_gguf(path, cache_dir=cache_dir)
    if is_modelscope(config.name):
        return _with_safetensors(modelscope_model(config), config, cache_dir, hub_id=config.name)
    if _is_written_as_path(config.name):
        raise ModelError(
            Phrase("There is no file or directory {name!r} to load a model from.", name=config.name),
            _check(
                config.name,
                "the path. The base model of a run or adapter that has been moved is named with --base-model; the "
                "model of a recipe with model=PATH.",
            ),
        )
    return _with_safetensors(_download(config), config, cache_dir, hub_id=config.name)


def _with_safetensors(path: Path, config: ModelConfig, cache_dir: Path | None, hub_id: str | None = None) -> Path:
    """A model directory as it is; with consent, one of `.bin` weights as the safetensors that were made of them."""
    if config.allow_pickle and (path / "config.json").is_file() and pickled_weights(path):
        path = converted_pickles(path, cache_dir=cache_dir)
    return checked_directory(path, hub_id=hub_id)


def local_path(name: str | Path) -> Path | None:
    """The file or directory of this name on this machine; None when there is none."""
    path = user_path(name)
    return path if exists(path) else None


def _is_written_as_path(name: str) -> bool:
    return name.startswith(("~", ".", "/")) or name.lower().endswith(".gguf") or not _HUB_ID.fullmatch(name)


def _download(config: ModelConfig) -> Path:
    """The snapshot of a hub id in the hub's cache, fetched unless it is there or offline mode is on."""
    from huggingface_hub import constants, snapshot_download

    patterns = [*WANTED_FILES, *(["*.py"] if config.trust_remote_code else ())]
    try:
        if config.allow_pickle and not _has_safetensors(config):
            patterns.append("*.bin")
        return Path(
            snapshot_download(
                config.name, revision=config.revision, allow_patterns=patterns, ignore_patterns=UNWANTED_FILES
            )
        )
    except Exception as error:  # the hub's client raises its own errors, those of HTTP and of the disk
        at = repr(config.name) + (f" at revision {config.revision!r}" if config.revision else "")
        if constants.HF_HUB_OFFLINE:
            where = Phrase("the local hub cache (offline mode is on)")
            check = "the name, or unset HF_HUB_OFFLINE once to download the model."
        else:
            where = Phrase("the hub at {address}", address=constants.ENDPOINT)
            check = (
                "the spelling and the network (HF_ENDPOINT chooses another hub; HF_HUB_OFFLINE=1 uses what was "
                "downloaded before), or name a local directory or .gguf file."
            )
        raise ModelError(
            Phrase(
                "The model {at} was not found: it is not a catalogue name ({names}), not a local file or directory, "
                "and could not be had from {where}: {reason}",
                at=at,
                names=", ".join(CATALOGUE),
                where=where,
                reason=reason(error),
            ),
            _check(config.name, check),
        ) from error


def _has_safetensors(config: ModelConfig) -> bool:
    """Whether the hub, or offline its cache, has safetensors of a model."""
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        return any(Path(snapshot_download(config.name, revision=config.revision)).glob("*.safetensors"))
    names = HfApi().list_repo_files(config.name, revision=config.revision)
    return any(name.endswith(".safetensors") for name in names)


def _check(name: str, what: str) -> str:
    """What to check, with the catalogue name that may have been meant."""
    closest = closest_name(name)
    if closest:
        return Phrase("Did you mean {closest!r}? Otherwise check {what}", closest=closest, what=Phrase(what))
    return Phrase("Check {what}", what=Phrase(what))
