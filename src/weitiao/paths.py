"""Paths as people write them, with `~` and relative to the file that names them or the current directory; and texts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from weitiao.errors import WeitiaoError


def user_path(name: str | Path) -> Path:
    """The path, a leading `~` or `~user` replaced by that home; as it is where no such home is known."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises for an unknown user


def expanded_word(word: str) -> str:
    """A word of a command line with the `~` replaced that shells leave: in `--output=~/x` and `run_dir=~/x`, too."""
    name, equals, value = re.fullmatch(r"(?s)(?:((?:--)?[\w.-]+)(=))?(.*)", word).groups("")  # type: ignore[union-attr]
    return f"{name}{equals}{os.path.expanduser(value)}" if value.startswith("~") else word  # noqa: PTH111


def places_of(name: str | Path, folders: Sequence[Path]) -> list[Path]:
    """Where a path is looked up: absolute paths, in the order of the folders, none twice.

    Args:
        name: As it was written; an absolute path is the only place for itself.
        folders: Where a relative path may be meant from: the folder of the file that names it, the current one.
    """
    wanted = user_path(name)
    return list(dict.fromkeys((folder / wanted).absolute() for folder in folders))


def find_path(name: str | Path, folders: Sequence[Path]) -> Path | None:
    """The first of `places_of` that exists; None when none does."""
    return next((place for place in places_of(name, folders) if exists(place)), None)


def exists(path: Path) -> bool:
    """Whether there is such a file or directory. What is too long for a path, or holds a null, is not there."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for these


def read_text(path: Path, error: type[WeitiaoError], *, what: str = "") -> str:
    """The text of a file that a person wrote.

    Args:
        path: The file.
        error: What is raised.
        what: The beginning of its message.

    Raises:
        WeitiaoError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{what}{path} is not UTF-8 (byte {problem.start}).", "Save it as UTF-8.") from problem
    except OSError as problem:
        remedy = "Check the path and its permissions."
        raise error(f"{what}{path} cannot be read: {problem.strerror}.", remedy) from problem
