"""Which formats there are: a line for each kind."""

from __future__ import annotations

from collections.abc import Callable

from weitiao.errors import RecipeError
from weitiao.export import gguf, ollama, torch_formats
from weitiao.export.formats import Format

_KINDS: tuple[Callable[[str], Format | None], ...] = (torch_formats.parse, gguf.parse, ollama.parse)
NAMES = (*torch_formats.NAMES, *gguf.NAMES, *ollama.NAMES)


def parse_format(name: str) -> Format:
    """The format of a name.

    Raises:
        RecipeError: There is none of this name.
    """
    for kind in _KINDS:
        if (found := kind(name)) is not None:
            return found
    raise RecipeError(
        f"There is no format `{name}`.",
        f"Formats: {', '.join(NAMES)}, and gguf- with any other name that llama.cpp's quantiser has, such as "
        "gguf-iq4_xs.",
    )
