"""Code that a user wrote beside a recipe: a function or a class in a Python file, named as `FILE.py:NAME`."""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError

from weitiao.config import Config
from weitiao.errors import RecipeError
from weitiao.paths import find_path

REFERENCE = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")


class OwnConfig(Config):
    """A class that a user wrote, with its settings beside `type`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(pattern=r"^.+\.py:[A-Za-z_]\w*$")
    """File and class: `my.py:Scale`. A relative path is looked up in the recipe's folder, then in the current one."""

    def located(self, folders: Sequence[Path]) -> Self:
        """The same with its file looked up in these folders, in this order, and made absolute."""
        path, name = split(self.type)
        return self.model_copy(update={"type": f"{find_path(path, folders) or path}:{name}"})

    def load(self, base: builtins.type[Any]) -> builtins.type[Any]:
        """The class.

        Args:
            base: What it has to be a subclass of.

        Raises:
            RecipeError: It is not there, or something else.
        """
        path, name = split(self.type)
        found = load_name(path, name, remedy=f"Write it as `class {name}({base.__name__})`.")
        if not (isinstance(found, builtins.type) and issubclass(found, base)):
            raise RecipeError(
                f"{self.type} is not a subclass of weitiao's {base.__name__}.",
                f"Write `from {base.__module__} import {base.__name__}` and `class {name}({base.__name__})`.",
            )
        return found

    def settings(self, of: builtins.type[Any]) -> Any:
        """The settings, as the nested class `Config` of a class wants them; None when it has none.

        Raises:
            RecipeError: They are not what it takes.
        """
        config: builtins.type[Config] = getattr(of, "Config", Config)
        try:
            return config.model_validate(self.model_extra or {})
        except ValidationError as error:
            first = error.errors()[0]
            raise RecipeError(
                f"{self.type}: `{'.'.join(map(str, first['loc']))}`: {first['msg']}.",
                f"Its settings are {', '.join(config.model_fields) or 'none'}.",
            ) from error


def split(reference: str) -> tuple[Path, str]:
    """The file and the name of `FILE.py:NAME`."""
    parts = REFERENCE.fullmatch(reference)
    assert parts is not None, "the configuration has checked it"
    return Path(parts["path"]), parts["name"]


def load_name(path: Path, name: str, *, remedy: str) -> Any:
    """A name of a file, which is run as a module of its own, with the rights of this program.

    Args:
        path: The Python file.
        name: A function or a class in it.
        remedy: What to do when it has none of that name.

    Raises:
        RecipeError: The file or the name is not there, or the file fails.
    """
    if not path.is_file():
        raise RecipeError(f"There is no file {path}.", "Correct the path of `FILE.py:NAME`.")
    module_name = f"weitiao_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise RecipeError(
            f"{line_in(error, path)}: the file cannot be loaded: {type(error).__name__}: {error}",
            "Correct the file; it is run on its own, so it can import installed packages, but not files beside it.",
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and value.__module__ == module_name]
        raise RecipeError(f"{path} has no `{name}`.", f"It has {', '.join(known)}." if known else remedy)
    return found


def line_in(error: Exception, path: Path) -> str:
    """The last place in a file that an error came through, as `file:line`."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f"{path}:{lines[-1]}" if lines else str(path)
