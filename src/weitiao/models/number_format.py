"""The weights of a model directory in another number format, tensor by tensor, so that they never are in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from weitiao.models.boundary import loading

_FILE_BYTES = 2**28
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}


def is_in_format(path: Path, dtype: torch.dtype) -> bool:
    """Whether all floating-point weights of a directory have a format; only the files' headers are read.

    Raises:
        ModelError: A file cannot be read.
    """
    found = set()
    for file in path.glob("*.safetensors"):
        with loading(f"The weights in {file} cannot be read", file), safe_open(file, "pt") as weights:
            found |= {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    return found & set(_NAMES.values()) <= {_NAMES[dtype]}


def write_in_format(source: Path, target: Path, dtype: torch.dtype) -> None:
    """Write a model directory anew with its weights in a format, in files of about 256 MiB.

    Raises:
        ModelError: A file cannot be read.
    """
    places: dict[str, str] = {}
    for number, tensors in enumerate(_portions(source, dtype), 1):
        file = f"model-{number:05d}.safetensors"
        save_file(tensors, target / file, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": places}
    (target / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    for beside in source.iterdir():
        if beside.suffix in (".json", ".py") and not beside.name.endswith(".index.json"):
            shutil.copyfile(beside, target / beside.name)


def _portions(source: Path, dtype: torch.dtype) -> Iterator[dict[str, Tensor]]:
    held: dict[str, Tensor] = {}
    for file in sorted(source.glob("*.safetensors")):
        with loading(f"The weights in {file} cannot be read", file), safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (it is no mapping)
                tensor = weights.get_tensor(name)
                held[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
                if sum(one.nbytes for one in held.values()) >= _FILE_BYTES:
                    yield held
                    held = {}
    if held:
        yield held
