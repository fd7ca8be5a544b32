"""What a server takes on: sizes, times, and how many requests at once."""

from __future__ import annotations

import asyncio
import math
import time
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

    def enter(self, num: int) -> list[Place]:
        """Queue up for so many answers at once; each place has to be left in the end.

        Raises:
            BusyError: There is no room.
        """
        if self.running + self.waiting + num > self._slots + self._queue:
            wait = math.ceil((self.waiting + num) / self._slots * self._mean_seconds)
            raise BusyError(min(max(wait, 1), _LONGEST_WAIT_SECONDS))
        self.waiting += num
        return [Place(self) for _ in range(num)]

    async def take(self) -> None:
        """Wait for a free slot."""
        await self._free.acquire()
        self.waiting -= 1
        self.running += 1

    def give_back(self, seconds: float) -> None:
        """Free a slot that was taken for so long."""
        self.running -= 1
        self._free.release()
        self._mean_seconds += 0.1 * (seconds - self._mean_seconds)


class Place:
    """One answer's place in the queue, and then its slot."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._since: float | None = None
        self._left = False

    async def wait(self, seconds: float) -> None:
        """Until the slot is there.

        Raises:
            TimeoutError: It was not, for so long.
        """
        async with asyncio.timeout(seconds):
            await self._slots.take()
        self._since = time.monotonic()

    def leave(self) -> None:
        """Make room; once is enough."""
        if self._left:
            return
        self._left = True
        if self._since is None:
            self._slots.waiting -= 1
        else:
            self._slots.give_back(time.monotonic() - self._since)
