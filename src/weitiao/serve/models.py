"""The models that a server has, by the names that clients ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weitiao.data.example import Message
from weitiao.serve.engine import Engine, ServeError
from weitiao.serve.limits import Slots
from weitiao.serve.text import ModelText

Score = Callable[[Sequence[Sequence[Message]]], list[float]]
"""What a reward model gives conversations."""


@dataclass(frozen=True)
class Writer:
    """A model that writes.

    Attributes:
        name: By which it is asked for.
        source: Where it comes from.
        engine: Writes its answers; several share one where they are adapters on one base.
        text: All that is text.
        slots: Of the engine.
        adapter: Of those that the engine has; None for what it has loaded itself.
        created: When it was loaded, in seconds since 1970.
    """

    name: str
    source: str
    engine: Engine
    text: ModelText
    slots: Slots
    adapter: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass(frozen=True)
class Judge:
    """A reward model: `name` and `source` as above, and what gives scores."""

    name: str
    source: str
    score: Score
    created: int = field(default_factory=lambda: int(time.time()))


class UnknownModelError(Exception):
    """No model has this name, or none of the kind that is asked for."""


class Models:
    """All models of a server.

    Args:
        writers, judges: Those that it begins with.
        adapter_folders: Where adapters may lie that are loaded while it runs.
        adapter_text: The text of an adapter in a directory, on a base.
    """

    def __init__(
        self,
        writers: Iterable[Writer],
        judges: Iterable[Judge] = (),
        *,
        adapter_folders: Sequence[Path] = (),
        adapter_text: Callable[[Path, Writer], ModelText],
    ) -> None:
        every: list[Writer | Judge] = [*writers, *judges]
        self._all = {one.name: one for one in every}
        self._adapter_text = adapter_text
        self._folders = [folder.resolve() for folder in adapter_folders]

    def __iter__(self) -> Iterator[Writer | Judge]:
        return iter(self._all.values())

    @property
    def writers(self) -> list[Writer]:
        """Those that write."""
        return [one for one in self if isinstance(one, Writer)]

    @property
    def judges(self) -> list[Judge]:
        """Those that score."""
        return [one for one in self if isinstance(one, Judge)]

    @property
    def engines(self) -> list[Engine]:
        """All engines, each once."""
        return list({id(one.engine): one.engine for one in self.writers}.values())

    def writer(self, name: str) -> Writer:
        """The model of a name that writes.

        Raises:
            UnknownModelError: There is none.
        """
        if not isinstance(one := self._all.get(name), Writer):
            raise UnknownModelError(name)
        return one

    def judge(self, name: str) -> Judge:
        """The model of a name that scores.

        Raises:
            UnknownModelError: There is none.
        """
        if not isinstance(one := self._all.get(name), Judge):
            raise UnknownModelError(name)
        return one

    async def load_adapter(self, name: str, directory: str, on: str | None) -> Writer:
        """Take an adapter while requests are answered.

        Args:
            name: By which it will be asked for.
            directory: Where it lies, in one of the folders from which adapters may come.
            on: A model on the same base; needed where there are several bases.

        Raises:
            UnknownModelError: There is no model `on`.
            ServeError: The name is taken, the place is not allowed, or the engine cannot.
        """
        if name in self._all:
            raise ServeError(f"There is a model {name} already.", "Unload it first, or take another name.")
        try:
            path = Path(directory).resolve()
            is_allowed = any(path.is_relative_to(folder) for folder in self._folders)
            is_there = is_allowed and path.is_dir()
        except (OSError, ValueError) as error:  # too long, or with a null character in it
            raise ServeError(f"{directory!r} is no path.", "Check it.") from error
        if not is_allowed:
            raise ServeError(f"Adapters may not come from {directory}.", "Start the server with --adapters FOLDER.")
        if not is_there:
            raise ServeError(f"There is no directory {directory}.", "Check the path.")
        bases = [one for one in self.writers if one.adapter is None]
        if on is None and len(bases) != 1:
            raise ServeError("There are several bases.", "Name the model with the same base: base_model_name.")
        base = bases[0] if on is None else self.writer(on)
        await base.engine.load_adapter(name, path)
        text = await asyncio.to_thread(self._adapter_text, path, base)
        loaded = Writer(name, str(path), base.engine, text, base.slots, name)
        self._all[name] = loaded
        return loaded

    async def unload_adapter(self, name: str) -> None:
        """Let go of an adapter when its last running answer has ended; nobody finds it from now on.

        Raises:
            UnknownModelError: There is none of this name.
            ServeError: The engine cannot.
        """
        one = self.writer(name)
        if one.adapter is None:
            raise ServeError(f"{name} is no adapter.", "Only adapters can be unloaded.")
        del self._all[name]
        await one.engine.unload_adapter(one.adapter)
