"""Which formats there are: a line for each kind."""

from __future__ import annotations

from collections.abc import Callable

from weitiao.errors import RecipeError
from weitiao.export import gguf, gguf_lora, ollama, torch_formats
from weitiao.export.formats import Format

_KINDS: tuple[Callable[[str], Format | None], ...] = (
    torch_formats.parse, gguf.parse, gguf_lora.parse, ollama.parse,
)  # fmt: skip
NAMES = (*torch_formats.NAMES, *gguf.NAMES, *gguf_lora.NAMES, *ollama.NAMES)
_NOT_YET = {
    "int4": "torchao 0.18 has four bits for GPUs, XPUs and NPUs alone",
    "onnx": "optimum-onnx 0.1 wants transformers below 4.58",
    "openvino": "optimum-intel 2.2 wants transformers below 5.6",
    "gptq": "gptqmodel 7.7 has no package that is ready to use, and llmcompressor 0.14 wants transformers 5.17 at most",
    "awq": "autoawq is not kept up any more, and llmcompressor 0.14 wants transformers 5.17 at most",
}
"""Formats that are often asked for, and why they are not made."""


def parse_format(name: str) -> Format:
    """The format of a name.

    Raises:
        RecipeError: There is none of this name.
    """
    for kind in _KINDS:
        if (found := kind(name)) is not None:
            return found
    if name in _NOT_YET:
        raise RecipeError(f"The format `{name}` cannot be made: {_NOT_YET[name]}.", "Take gguf-q4_k_m, or nf4.")
    raise RecipeError(
        f"There is no format `{name}`.",
        f"Formats: {', '.join(NAMES)}, and gguf- with any other name that llama.cpp's quantiser has, such as "
        "gguf-iq4_xs.",
    )
