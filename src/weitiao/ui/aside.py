"""What needs PyTorch or a tokenizer is done in a process beside the pages, which stay small and quick.

The process is kept for the next call, and ends when none comes for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

from weitiao.errors import WeitiaoError
from weitiao.machine.parent import begin_child
from weitiao.ui.problems import UiError

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """Calls functions of modules in one process of their own, one after the other.

    Args:
        idle_seconds: After which the process ends.
    """

    def __init__(self, *, idle_seconds: float = 120.0) -> None:
        self._idle_seconds = idle_seconds
        self._pool: ProcessPoolExecutor | None = None
        self._calls = 0
        self._closing: asyncio.TimerHandle | None = None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function there.

        Args:
            function: Of a module; what it takes and gives has to be picklable.

        Raises:
            WeitiaoError: As the function does.
            UiError: The process died, for want of memory for instance.
        """
        if self._closing is not None:
            self._closing.cancel()
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin_child)
        pool, self._calls = self._pool, self._calls + 1
        try:
            told = await asyncio.get_running_loop().run_in_executor(pool, _outcome, function, args, kwargs)
        except BrokenProcessPool as error:
            self._pool = None
            raise UiError(
                "The process that worked on this died.", "Try again; memory may be short.", status=503
            ) from error
        finally:
            self._calls -= 1
            if not self._calls:
                self._closing = asyncio.get_running_loop().call_later(self._idle_seconds, self.close)
        value, wrong = told
        if wrong is not None:
            raise WeitiaoError(*wrong)
        result: T = value
        return result

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _outcome(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[str, str] | None]:
    """A result, or the words of an error: errors with arguments of their own do not survive the way back."""
    try:
        return function(*args, **kwargs), None
    except WeitiaoError as error:
        return None, (error.what, error.remedy)
