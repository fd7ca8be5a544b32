"""Models that lie on this machine, with what they take: of packages, converted, and of the hub's cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weitiao.machine.catalogue import CATALOGUE, find_catalogue_file
from weitiao.models.cache import default_cache_dir


@dataclass(frozen=True, slots=True)
class ModelOnDisk:
    """A model that is here.

    Attributes:
        name: As a recipe names it; of a converted one, the name of its directory.
        kind: `package` (a file of a Python package), `converted` (made of a GGUF file or of pickles, and made
            again when it is wanted) or `hub` (in the cache of the Hugging Face hub).
        path: Where.
        num_bytes: What it takes.
    """

    name: str
    kind: str
    path: Path
    num_bytes: int


def models_on_disk(*, cache_dir: Path | None = None) -> list[ModelOnDisk]:
    """What is here, by kind and name.

    Args:
        cache_dir: Of converted models; `default_cache_dir()` by default.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    found = [
        ModelOnDisk(name, "package", path, path.stat().st_size)
        for name in CATALOGUE
        if (path := find_catalogue_file(name)) is not None
    ]
    converted = cache_dir or default_cache_dir()
    if converted.is_dir():
        found += [
            ModelOnDisk(
                path.name, "converted", path, sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
            )
            for path in sorted(converted.iterdir())
            if any(path.glob("*.safetensors"))  # others are tokenizers alone
        ]
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        repositories = frozenset()
    hub = [
        ModelOnDisk(one.repo_id, "hub", one.repo_path, one.size_on_disk)
        for one in repositories
        if one.repo_type == "model"
    ]
    return found + sorted(hub, key=lambda one: one.name)
