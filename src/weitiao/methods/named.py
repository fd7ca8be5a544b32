"""Parts and parameters of a model that a person names by the ends of their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from weitiao.errors import ModelError


def find_named(names: Iterable[str], wanted: Iterable[str], *, setting: str, of: str) -> list[str]:
    """All names that are a wanted one, or end in it after a dot.

    Args:
        names: What there is.
        wanted: What a person wrote.
        setting: Where.
        of: What has them, for the message: `LlamaForCausalLM has no part`.

    Raises:
        ModelError: A wanted one is not there; the nearest are named.
    """
    known, found = list(names), []
    for one in wanted:
        matching = [name for name in known if name == one or name.endswith(f".{one}")]
        if not matching:
            parts = one.count(".") + 1
            ends = {".".join(name.rsplit(".", parts)[-parts:]) for name in known if name}
            near = difflib.get_close_matches(one, sorted(ends), n=3)
            remedy = f"Near it are: {', '.join(near)}." if near else f"There are: {', '.join(sorted(ends)[:20])}."
            raise ModelError(f"{setting}: {of} named {one}.", remedy if ends else "Choose another model.")
        found += matching
    return found
