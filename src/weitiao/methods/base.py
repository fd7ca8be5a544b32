"""Which base model an adapter belongs to, and where it is now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weitiao.errors import ModelError, RecipeError, RunError
from weitiao.machine.catalogue import CATALOGUE
from weitiao.methods.adapter import ADAPTER_CONFIG
from weitiao.methods.note import read_note
from weitiao.models.config import ModelConfig
from weitiao.models.directory import read_json_object
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.names import local_path, resolve_model
from weitiao.yaml_text import read_yaml


def base_model(adapter: Path) -> ModelConfig:
    """The base model of an adapter: what the recipe of its run says, else its note, else PEFT's configuration.

    Only a recipe can allow a model's own code to run: an adapter that came from elsewhere brings none.

    Args:
        adapter: The adapter directory.

    Raises:
        ModelError: It names no base model.
        RunError: The recipe of its run is damaged.
    """
    config = _of_recipe(adapter.parent / "recipe.yaml") if adapter.name == "final" else None
    if config is None:
        note = read_note(adapter)
        if note is not None:
            return find_moved(ModelConfig(name=note.base, revision=note.revision), adapter)
        values = read_json_object(adapter / ADAPTER_CONFIG)
        name = values.get("base_model_name_or_path")
        if not name:
            raise ModelError(
                f"{adapter / ADAPTER_CONFIG} names no base model.",
                "Name it with --base-model, or set base_model_name_or_path in that file.",
            )
        config = ModelConfig(name=str(name), revision=values.get("revision"))
    return find_moved(config, adapter)


def find_moved(config: ModelConfig, adapter: Path) -> ModelConfig:
    """The same model where it is now, when it was moved together with its adapter.

    The name that is noted is looked for around the adapter: of `/old/place/models/x` the ends `x`, `models/x` and so
    on, in each folder above it. What is found counts only if its weights are those that the adapter was trained on; for
    the adapter of another tool, which does not say, only a path that is relative to it counts.

    Args:
        config: The model as it is noted.
        adapter: The adapter directory; it need not be there.
    """
    if config.name in CATALOGUE or _is_model(local_path(config.name)):
        return config
    note = read_note(adapter)
    fingerprint = None if note is None else note.fingerprint
    for candidate in _candidates(config.name, adapter, everywhere=fingerprint is not None):
        if fingerprint is None or _fingerprint_of(candidate) == fingerprint:
            return config.moved_to(str(candidate))
    return config


def _candidates(name: str, adapter: Path, *, everywhere: bool) -> Iterator[Path]:
    if name.startswith("."):
        yield from filter(_is_model, [adapter.resolve() / name])
    if not everywhere or not name.startswith(("/", ".", "~")):
        return
    parts = [part for part in Path(name).parts if part not in ("/", "..", "~")]
    for folder in adapter.resolve().parents:
        for start in range(len(parts) - 1, -1, -1):
            if _is_model(path := folder.joinpath(*parts[start:])):
                yield path


def _is_model(path: Path | None) -> bool:
    return path is not None and (path.is_file() or (path / "config.json").is_file())


def _fingerprint_of(path: Path) -> str | None:
    try:
        return model_fingerprint(resolve_model(ModelConfig(name=str(path))))
    except ModelError:  # a folder or file of the same name that is no model
        return None


def _of_recipe(path: Path) -> ModelConfig | None:
    if not path.is_file():
        return None
    try:
        return ModelConfig.model_validate(read_yaml(path)["model"])
    except (RecipeError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} names no base model: it is damaged.", "Name the adapter directory instead.") from error
