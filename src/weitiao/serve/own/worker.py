"""The thread of the model: takes what is asked between two steps, and tells everyone when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from weitiao.serve.engine import ServeError

if TYPE_CHECKING:
    from weitiao.serve.own.adapters import Adapter
    from weitiao.serve.own.loading import Loaded
    from weitiao.serve.own.schedule import Schedule

_logger = logging.getLogger(__name__)

STARTING = "Start it again; the log says what happened."


@dataclass(slots=True)
class Worker:
    """What belongs to the thread of the model."""

    loaded: Loaded
    schedule: Schedule
    forget: Callable[[Hashable], None]
    leaving: list[tuple[str, Future[None]]] = field(default_factory=list)
    stopped: bool = False

    def run(self, inbox: SimpleQueue[Callable[[Worker], None]]) -> ServeError:
        """Serve until it is stopped, or something goes wrong; what those are told who wait."""
        try:
            while not self.stopped:
                self._take_all(inbox)
                self.schedule.tick()
                self._let_go()
        except Exception as error:
            _logger.exception("The engine died.")
            reason = ServeError(f"The engine died: {type(error).__name__}: {error}", STARTING)
            reason.__cause__ = error
            return reason
        return ServeError("The engine was stopped before the answer was ready.", "Ask again.")

    def end(self, inbox: SimpleQueue[Callable[[Worker], None]], reason: ServeError) -> None:
        """Tell all that wait, those in the inbox too."""
        with suppress(Empty):
            while True:
                inbox.get_nowait()(self)
        for answer in self.schedule.answers:
            answer.emit(reason)
        for _, gone in self.leaving:
            gone.set_exception(reason)

    def add(self, name: str, adapter: Adapter) -> None:
        assert self.loaded.adapters is not None, "it was read for them"
        self.loaded.adapters.add(name, adapter)

    def stop(self) -> None:
        self.stopped = True

    def _take_all(self, inbox: SimpleQueue[Callable[[Worker], None]]) -> None:
        """Do what is asked; wait for it where there is nothing else to do."""
        with suppress(Empty):
            while True:
                inbox.get(block=not self.schedule.answers and not self.leaving and not self.stopped)(self)

    def _let_go(self) -> None:
        for name, gone in list(self.leaving):
            if not self.schedule.uses(name):
                assert self.loaded.adapters is not None, "it was loaded"
                self.loaded.adapters.remove(name)
                self.forget(name)
                self.leaving.remove((name, gone))
                gone.set_result(None)
