"""From a request that was understood to its answers: within the limits, counted, and recorded before they are ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from weitiao.data.example import Message
from weitiao.errors import WeitiaoError
from weitiao.serve.engine import Request
from weitiao.serve.limits import Limits, Place
from weitiao.serve.metrics import Metrics
from weitiao.serve.models import Models, Writer
from weitiao.serve.text import Answer, Piece, Prompt, write

T = TypeVar("T")


class TooLongError(WeitiaoError):
    """A prompt, or the answer that is asked for, is longer than the model or this server takes."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request for answers of one model.

    Attributes:
        id: Of the response.
        writer: Who answers.
        routed: Whether a route chose who does.
        prompt: What is answered.
        request: How, for the first of the answers; the others draw with the next seeds.
        stop: Texts that end an answer.
        choices: How many answers.
        user: Who asks, as far as that was told.
        messages: The conversation, for the record.
        begun: When the request came, on the monotonic clock.
    """

    id: str
    writer: Writer
    routed: bool = False
    prompt: Prompt
    request: Request
    stop: tuple[str, ...] = ()
    choices: int = 1
    user: str | None = None
    messages: Sequence[Message] = ()
    begun: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Part:
    """What an answer has gained.

    Attributes:
        choice: Which answer.
        piece: What came.
        num_tokens: Written for it so far, that which ended it included.
        cached: Tokens of the prompt that were known from earlier requests.
    """

    choice: int
    piece: Piece
    num_tokens: int
    cached: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An answer that has ended, for the record."""

    asked: Asked
    choice: int
    text: str
    num_tokens: int
    finish: str
    seconds: float


class Answering:
    """Lets the models of a server answer.

    Args:
        models: Those there are.
        limits: What is taken on.
        metrics: Counts.
        record: Gets every answer when it has ended, before its end is told to anybody.
    """

    def __init__(
        self, models: Models, limits: Limits, metrics: Metrics, record: Callable[[Ended], None] | None = None
    ) -> None:
        self.models, self.limits, self.metrics, self._record = models, limits, metrics, record
        self._texts = ThreadPoolExecutor(1, "text")  # templates and tokenizers, beside the loop, one at a time
        self._records = ThreadPoolExecutor(1, "records")

    async def aside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something with texts that may take its time."""
        return await asyncio.get_running_loop().run_in_executor(self._texts, work, *arguments)

    async def recorded(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something with the store."""
        return await asyncio.get_running_loop().run_in_executor(self._records, work, *arguments)

    def require_room(self, writer: Writer, prompt: Prompt, max_tokens: int | None) -> int:
        """How many tokens an answer may have.

        Raises:
            TooLongError: The prompt or the answer is too long.
        """
        context, num = writer.engine.served.context, len(prompt.ids)
        most = min(self.limits.prompt_tokens or context, context - 1)
        if num > most:
            raise TooLongError(f"The prompt has {num:,} tokens, and at most {most:,} are taken.", "Shorten it.")
        if max_tokens is not None and max_tokens > self.limits.answer_tokens:
            raise TooLongError(
                f"An answer has at most {self.limits.answer_tokens:,} tokens here, not {max_tokens:,}.",
                "Ask for fewer tokens.",
            )
        return min(max_tokens or self.limits.answer_tokens, context - num)

    async def parts(self, asked: Asked) -> AsyncGenerator[Part, None]:
        """The answers to a request as they come; who stops reading ends them.

        Raises:
            BusyError: There is no room for them.
            TimeoutError: They took too long.
            ServeError: The engine failed.
        """
        places = asked.writer.slots.enter(asked.choices)
        queue: asyncio.Queue[Part | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._fill(queue, asked, *one)) for one in enumerate(places)]
        for task in tasks:
            task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while not all(task.done() for task in tasks) or not queue.empty():
                if (part := await queue.get()) is not None:
                    yield part
                    continue
                for task in tasks:
                    if task.done():
                        task.result()  # raises what it raised
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for place in places:
                place.leave()

    async def _fill(self, queue: asyncio.Queue[Part | None], asked: Asked, choice: int, place: Place) -> None:
        until = asked.begun + self.limits.seconds
        await place.wait(until - time.monotonic())
        async with aclosing(self._answer(asked, choice, until)) as parts:
            async for part in parts:
                queue.put_nowait(part)
        place.leave()

    async def _answer(self, asked: Asked, choice: int, until: float) -> AsyncGenerator[Part, None]:
        name, said, first = asked.writer.name, "", True
        answer = Answer(asked.writer.text, asked.prompt, asked.stop)
        request = replace(asked.request, seed=asked.request.seed + choice)
        async with aclosing(write(asked.writer.engine, request, answer)) as pieces:
            while answer.finish is None:
                async with asyncio.timeout(until - time.monotonic()):
                    piece = await anext(pieces)
                if first:
                    self.metrics.first.labels(name).observe(time.monotonic() - asked.begun)
                    first = False
                said += piece.content + "".join(f"{call.name}({call.arguments})" for call in piece.calls)
                if piece.finish is not None:
                    await self._end(asked, choice, answer, said)
                yield Part(choice, piece, answer.num_tokens, answer.cached)

    async def _end(self, asked: Asked, choice: int, answer: Answer, said: str) -> None:
        name, seconds, finish = asked.writer.name, time.monotonic() - asked.begun, str(answer.finish)
        self.metrics.whole.labels(name).observe(seconds)
        self.metrics.answers.labels(name, finish).inc()
        counts = {"prompt": len(asked.prompt.ids), "cached": answer.cached, "written": answer.num_tokens}
        for kind, number in counts.items():
            self.metrics.tokens.labels(name, kind).inc(number)
        if self._record is not None:
            await self.recorded(self._record, Ended(asked, choice, said, answer.num_tokens, finish, seconds))

    def close(self) -> None:
        """Wait for what is being recorded."""
        self._records.shutdown()
        self._texts.shutdown(cancel_futures=True)
