"""Weights in PyTorch's older files, made into safetensors once; only with consent, because such a file is a pickle."""

from __future__ import annotations

import shutil
from pathlib import Path

from weitiao.errors import ModelError
from weitiao.models.boundary import loading
from weitiao.models.directory import shards

_COPIED = ("*.json", "*.jinja", "*.model", "*.txt", "*.py")


def pickled_weights(path: Path) -> list[Path]:
    """The `.bin` files of a directory that has no safetensors."""
    return [] if any(path.glob("*.safetensors")) else sorted(path.glob("*.bin"))


def convert_pickles(path: Path, directory: Path) -> None:
    """Write a model with `.bin` weights into a directory with safetensors.

    Tensors alone are read (`weights_only`): a file that would run code is refused by PyTorch.

    Args:
        path: The model.
        directory: An existing directory, written into.

    Raises:
        ModelError: A file is damaged, holds more than tensors, or is not there though the index names it.
    """
    import torch
    from huggingface_hub import save_torch_state_dict

    index = path / "pytorch_model.bin.index.json"
    files = [path / name for name in shards(index)] if index.is_file() else pickled_weights(path)
    if absent := [file.name for file in files if not file.is_file()]:
        raise ModelError(f"{path} lacks {len(absent)} of its weights files, {absent[0]} among them.", "Copy it again.")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        with loading(f"{file} cannot be read", packages=("torch",), remedy="Take a copy that holds tensors alone."):
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            state |= {name: tensor for name, tensor in found.items() if isinstance(tensor, torch.Tensor)}
    with loading(f"The weights in {path} cannot be written as safetensors", packages=("huggingface_hub",)):
        save_torch_state_dict(state, directory)
    for pattern in _COPIED:
        for file in path.glob(pattern):
            if file != index:
                shutil.copy2(file, directory)
