"""A short name for the exact weights of a model."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

from weitiao.errors import ModelError
from weitiao.models.directory import read_json_object

_SAMPLE_BYTES = 64
_SHAPING_KEYS = ("model_type", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "tie_word_embeddings")


def model_fingerprint(path: Path) -> str:
    """Name the weights in a model directory, so that an adapter can tell its own base from another.

    Hashed are the architecture and head counts from `config.json` and, for every tensor in order of name: its name,
    type, shape, and 64 bytes at its beginning, middle and end. A copy, another sharding, another tokenizer and
    another transformers version give the same fingerprint; another fine-tuning of the same architecture, or the
    same weights in another number format, give a different one. Reads a few kilobytes whatever the model's size.

    Args:
        path: A directory with `config.json` and safetensors weights.

    Returns:
        16 hexadecimal digits.

    Raises:
        ModelError: A weights file is damaged.
    """
    config = read_json_object(path / "config.json")
    digest = hashlib.sha256(json.dumps([config.get(key) for key in _SHAPING_KEYS]).encode())
    tensors: dict[str, bytes] = {}
    for file in path.glob("*.safetensors"):
        tensors.update(_describe_tensors(file))
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name])
    return digest.hexdigest()[:16]


def _describe_tensors(path: Path) -> dict[str, bytes]:
    """Type, shape and samples of every tensor in a safetensors file (8 bytes of length, a JSON header, the data)."""
    with path.open("rb") as file:
        try:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(header_bytes))
            header.pop("__metadata__", None)
            return {name: _describe(file, 8 + header_bytes, entry) for name, entry in header.items()}
        except (struct.error, ValueError, OverflowError, MemoryError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path} is not a whole safetensors file.", "Download or copy the file again.") from error


def _describe(file: BinaryIO, data_start: int, entry: dict[str, Any]) -> bytes:
    begin, end = entry["data_offsets"]
    samples = b""
    for offset in (begin, (begin + end) // 2, max(begin, end - _SAMPLE_BYTES)):
        file.seek(data_start + offset)
        samples += file.read(min(_SAMPLE_BYTES, end - offset))
    return f"{entry['dtype']}{entry['shape']}".encode() + samples
