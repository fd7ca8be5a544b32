"""Projects and runs below a folder: a directory is read again only where it changed, since pages ask often."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HERE = "~"
"""The name of the folder itself, where that is a project or a run: browsers take a `.` out of an address."""
RECIPE = "recipe.yaml"
RUN_FILES = ("environment.json", "steps.json", "metrics.jsonl")
_DEPTH = 5
_SETTLED_NS = 10**9
"""Of two changes this close together the file system may know one time alone."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory.

    Attributes:
        path: It.
        name: Its path below the folder, with slashes.
        kind: A run has a recipe and one of the files of runs, a project a recipe alone.
        files: Those of runs, and the recipe, which are there.
        inside: Names of directories to look into: none in a run, none that is hidden or a link.
        changed: When the directory changed last, in ns since 1970; -1 where it is to be read again.
    """

    path: Path
    name: str
    kind: Literal["run", "project", ""]
    files: tuple[Path, ...]
    inside: tuple[str, ...]
    changed: int

    @property
    def written(self) -> float:
        """When a file of the run was written last, in seconds since 1970."""
        found = [0.0]
        for path in self.files:
            with suppress(FileNotFoundError):  # deleted just now
                found.append(path.stat().st_mtime)
        return max(found)


class Folders:
    """What lies below a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Folder] = {}

    def __iter__(self) -> Iterator[Folder]:
        """The folder and the directories in it, in order; those that may not be read are left out."""
        found: dict[str, Folder] = {}
        waiting = [(str(self._root), 0)]
        while waiting:
            place, depth = waiting.pop()
            try:
                one = found[place] = self._at(place)
            except OSError:  # deleted meanwhile, or not ours
                continue
            yield one
            if depth < _DEPTH:
                waiting += [(f"{place}/{name}", depth + 1) for name in reversed(one.inside)]
        self._known = found

    def _at(self, place: str) -> Folder:
        changed = os.stat(place).st_mtime_ns  # noqa: PTH116 - no path is made of what is known
        known = self._known.get(place)
        if known is not None and known.changed == changed:
            return known
        settled = time.time_ns() - changed > _SETTLED_NS
        with os.scandir(place) as entries:
            found = list(entries)
        path = Path(place)
        files = [path / one.name for one in found if one.name in (RECIPE, *RUN_FILES) and one.is_file()]
        inside = sorted(
            one.name
            for one in found
            if one.is_dir(follow_symlinks=False) and not one.name.startswith(".") and one.name != "node_modules"
        )
        kind: Literal["run", "project", ""] = "run" if len(files) > 1 else "project"
        kind = kind if path / RECIPE in files else ""
        inside = [] if kind == "run" else inside
        return Folder(path, self.name_of(path), kind, tuple(files), tuple(inside), changed if settled else -1)

    def name_of(self, path: Path) -> str:
        """How a path below the folder is called."""
        return HERE if path == self._root else path.relative_to(self._root).as_posix()
