"""What a model is, for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from weitiao.machine.hardware import Hardware
from weitiao.models.description import ModelDescription
from weitiao.terminal.tables import facts

_GIB = 2**30
_RULES = (("answers", 1.2), ("LoRA", 1.4), ("full tuning", 5.0))
"""How much memory a use takes, in weights of its number format: rules of thumb."""


def print_model(found: ModelDescription, hardware: Hardware, console: Console) -> None:
    """Print a description, and what of it this machine has room for.

    Args:
        found: The model.
        hardware: This machine.
        console: Where to.
    """
    active = "" if found.num_active == found.num_parameters else f", {found.num_active:,} of them for each token"
    tied = "head and embeddings are one" if found.tied else "with a head of its own"
    heads = f"{found.num_heads} heads, {found.num_key_heads or found.num_heads} of keys" if found.num_heads else ""
    stored = f"{found.file_bytes / _GIB:,.2f} GiB, weights in {', '.join(found.stored)}"
    template = "brings a chat template" if found.template else "no chat template (rendering.template chooses one)"
    rows = [
        ("Model", found.name),
        ("Lies in", str(found.path)),
        ("Class", found.architecture),
        ("Parameters", f"{found.num_parameters:,}{active}"),
        ("Layers", ", ".join(filter(None, [f"{found.num_layers}", f"{found.hidden_size:,} wide", heads]))),
        ("Vocabulary", f"{found.vocabulary:,} embeddings, {found.tokens:,} tokens; {tied}"),
        ("Context", "no limit named" if found.context is None else f"{found.context:,} tokens"),
        ("Files", stored),
        ("Template", template),
        ("Licence", found.licence or "not said by its files"),
        *(("Special", line) for line in found.special[:1]),
        *(("", line) for line in found.special[1:]),
    ]
    console.print(facts(rows))
    console.print()
    free = hardware.available_memory_bytes
    console.print(Text(f"Memory by rules of thumb; {free / _GIB:,.1f} GiB are free here", "bold"))
    for use, factor in _RULES:
        shown = []
        for name, size in found.weight_bytes.items():
            if use == "full tuning" and name != "float32":
                continue  # weights that learn are kept in float32
            needed = size * factor
            shown.append((f"{name} {needed / _GIB:,.2f} GiB", "green" if needed <= free else "red"))
        console.print(Text.assemble(f"  {use}: ", *[part for one in shown for part in (one, "  ")]))
