"""What a server takes on: sizes, times, and how many requests at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_LONGEST_WAIT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what a request may ask for, and on how long it may take.

    Attributes:
        prompt_tokens: Of a prompt; None leaves it to the context.
        answer_tokens: Of an answer, also where a request names no number.
        body_bytes: Of a request.
        messages: Turns of a conversation.
        choices: Answers to one request.
        queue: Answers of a model that wait for a free slot.
        seconds: From the first byte of a request to the last of its answer.
        body_seconds: In which the body has to be here.
    """

    prompt_tokens: int | None = None
    answer_tokens: int = 4096
    body_bytes: int = 2**21
    messages: int = 512
    choices: int = 8
    queue: int = 64
    seconds: float = 600.0
    body_seconds: float = 30.0


class BusyError(Exception):
    """All slots and the queue are full.

    Args:
        seconds: After which it is worth to ask again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Slots:
    """The slots of an engine and the queue before them.

    Attributes:
        running, waiting: Answers that are written, and those that wait.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self._free = asyncio.Semaphore(slots)
        self._slots, self._queue = slots, queue
        self._mean_seconds = 1.0
        self.running = self.waiting = 0

    def require(self, num: int) -> None:
        """Refuse so many answers where they would not find room.

        Raises:
            BusyError: There is none.
        """
        if self.running + self.waiting + num > self._slots + self._queue:
            wait = math.ceil((self.waiting + num) / self._slots * self._mean_seconds)
            raise BusyError(min(max(wait, 1), _LONGEST_WAIT_SECONDS))

    @asynccontextmanager
    async def taken(self, seconds: float) -> AsyncIterator[None]:
        """A slot, as soon as one is free.

        Raises:
            TimeoutError: None was, for so long.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()
            self._mean_seconds += 0.1 * (time.monotonic() - begun - self._mean_seconds)
