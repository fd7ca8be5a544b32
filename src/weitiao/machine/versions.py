"""Versions of installed packages, as far as a result depends on them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

COMPUTING = ("torch", "transformers", "tokenizers", "peft")
"""What answers and losses are computed by."""

_DISTRIBUTIONS = {"stdnum": "python-stdnum"}  # modules whose package has another name


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """The installed version of each package (or module); None for those that are not there."""
    return {name: version_of(_DISTRIBUTIONS.get(name, name)) for name in sorted(set(names))}


def version_of(name: str) -> str | None:
    """The installed version of a distribution; None when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
