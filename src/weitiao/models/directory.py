"""Whether a directory holds a model that can be loaded, as far as its files show without loading it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from weitiao.errors import ModelError
from weitiao.yaml_text import parse_yaml

StoredDtype = Literal["float32", "bfloat16", "float16"]
"""The number formats that models are written in."""

WANTED_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md"]
UNWANTED_FILES = ["*/*", "consolidated*"]
"""What is fetched of a hub: weights, configuration, tokenizer and templates; no pickles, and no second copies in other
formats or folders."""

EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""What configurations call the number of experts in a layer."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
_POINTER_BYTES = 1024
_JSON_OBJECTS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "model.safetensors.index.json", "adapter_config.json",
)  # fmt: skip


def checked_directory(path: Path, *, hub_id: str | None = None) -> Path:
    """The directory itself, if it holds a configuration and whole safetensors weights.

    Args:
        path: The directory.
        hub_id: What it was downloaded as, when it was.

    Raises:
        ModelError: It holds none, or they are visibly damaged.
    """
    try:
        _check(path, hub_id)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    return path


def _check(path: Path, hub_id: str | None) -> None:
    shown = path if hub_id is None else hub_id
    config = path / "config.json"
    if not config.is_file():
        if (path / "adapter_config.json").is_file():
            raise ModelError(
                f"{shown} holds an adapter, not a model.",
                "Name its base model here, or merge the adapter into the base first.",
            )
        raise ModelError(
            f"{shown} holds no config.json, so it is not a model directory.",
            "Name the directory that holds config.json, the safetensors weights and the tokenizer.",
        )
    if not any(path.glob("*.safetensors")):
        raise _without_safetensors(path, hub_id)
    for file in sorted(path.iterdir()):
        if is_pointer(file):
            raise ModelError(
                f"{file} is a pointer of Git LFS, not the file that it stands for.",
                "Fetch the files with `git lfs pull` in the clone, or download the model in another way.",
            )
    _require_experts(read_json_object(config), config)
    if absent := _absent_shards(path):
        raise ModelError(
            f"{path} lacks {len(absent)} of the weights files that its index names, {absent[0]} among them.",
            "Download or copy the model again, complete.",
        )


def _require_experts(settings: dict[str, Any], path: Path) -> None:
    """Refuse a configuration by which a token goes to more experts than there are; 0 is a model without any."""
    text = settings.get("text_config")
    text = text if isinstance(text, dict) else settings
    chosen = text.get("num_experts_per_tok")
    experts = next((number for name in EXPERT_COUNTS if isinstance(number := text.get(name), int)), None)
    if isinstance(chosen, int) and experts and chosen > experts:
        raise ModelError(
            f"{path} sends each token to {chosen} of {experts} experts.",
            f"Set num_experts_per_tok there to what the model was trained with, at most {experts}.",
        )


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ModelError: The file cannot be read, is not JSON, or holds something else than an object.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check the file and its permissions.") from error
    except (ValueError, RecursionError) as error:
        found = "is empty" if path.stat().st_size == 0 else f"is not JSON: {error}"
        raise ModelError(f"{path} {found}.", "Download or copy that file again.") from error
    if not isinstance(value, dict):
        raise ModelError(
            f"{path} holds a JSON {type(value).__name__} where an object belongs.", "Download or copy that file again."
        )
    return value


def stored_dtype(path: Path) -> StoredDtype:
    """The number format of the weights in a directory, as its configuration names it; float32 when it is another."""
    config = read_json_object(path / "config.json")
    name = config.get("dtype", config.get("torch_dtype"))
    found: StoredDtype = next((one for one in get_args(StoredDtype) if one == name), "float32")
    return found


def require_free(output: Path) -> None:
    """Refuse to write a model where something lies already; an empty directory may be there.

    Raises:
        ModelError: Something lies there.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ModelError(f"{output} exists already.", "Name another output, or remove it first.")


def is_pointer(path: Path) -> bool:
    """Whether Git LFS left its pointer in a file's place, as a clone without LFS does."""
    try:
        if not path.is_file() or path.stat().st_size > _POINTER_BYTES:
            return False
        return path.read_bytes().startswith(_LFS_POINTER)
    except OSError:  # the loader will say why it cannot be read
        return False


def quantization(path: Path) -> str | None:
    """The method by which `config.json` says that the weights are quantised; None when it says nothing."""
    try:
        found = read_json_object(path / "config.json").get("quantization_config")
    except ModelError:
        return None
    if found is None:
        return None
    return str(found.get("quant_method", "by an unnamed method")) if isinstance(found, dict) else "by an unnamed method"


def damage(path: Path) -> str | None:
    """The first file of a directory that is damaged, and how; None when no damage shows."""
    return next(_damages(path), None)


def _damages(path: Path) -> Iterator[str]:
    from safetensors import SafetensorError, safe_open

    for name in _JSON_OBJECTS:
        if (path / name).is_file():
            if is_pointer(path / name):
                yield f"{name} is a pointer of Git LFS, not the file that it stands for"
            try:
                read_json_object(path / name)
            except ModelError as error:
                yield error.what.removeprefix(f"{path}/").rstrip(".")
    for file in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            yield f"{file.name} is not a whole safetensors file ({error})"


def _absent_shards(path: Path) -> list[str]:
    index = path / "model.safetensors.index.json"
    if not index.is_file() or (path / "model.safetensors").is_file():  # the one file is taken before the index
        return []
    return [name for name in shards(index) if not (path / name).is_file()]


def shards(index: Path) -> list[str]:
    """The weights files that an index names.

    Raises:
        ModelError: It is damaged.
    """
    names = read_json_object(index).get("weight_map")
    if not isinstance(names, dict):
        raise ModelError(f"{index} has no weight_map.", "Download or copy that file again.")
    return sorted({str(name) for name in names.values()})


def _without_safetensors(path: Path, hub_id: str | None) -> ModelError:
    pickles = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in path.glob(pattern))
    if hub_id is not None:
        found = "others were not looked for, because a pickle can run code when it is read"
    elif pickles:
        found = f"only {pickles[0]}, a pickle, which can run code when it is read"
    else:
        return ModelError(f"{path} holds no weights at all.", "Download or copy the model again, complete.")
    return ModelError(
        f"{path if hub_id is None else hub_id} holds no safetensors weights: {found}.",
        "Set model.allow_pickle: true if you trust its source (tensors alone are read); or take one with safetensors.",
    )


def licence(path: Path) -> str | None:
    """What the head of the model's card names."""
    card = path / "README.md"
    if not card.is_file():
        return None
    head = card.read_text(encoding="utf-8", errors="replace").split("---")
    values = parse_yaml(head[1], str(card)) if len(head) > 2 and not head[0].strip() else None
    said = values.get("license_name", values.get("license")) if isinstance(values, dict) else None
    return None if said is None else str(said)
