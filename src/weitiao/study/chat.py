"""`weitiao chat`: a model's engine beside a person who types, and what it says as a terminal shows it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

from weitiao.errors import ModelError
from weitiao.methods.base import base_model, find_moved
from weitiao.methods.open import final_tokenizer, find_final
from weitiao.rendering.render import end_of_turn_id
from weitiao.serve.conversation import Conversation
from weitiao.serve.engine import Request, Token
from weitiao.serve.own.adapters import is_adapter, is_plain
from weitiao.serve.text import ModelText, Piece
from weitiao.study.engines import EngineSettings, OpenEngine, open_engine
from weitiao.terminal.chances import Chosen
from weitiao.terminal.chat import Said

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

T = TypeVar("T")
SHOWN_ALTERNATIVES = 4
_TUNED = "tuned"


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """Who answers, and how.

    Attributes:
        speakers: `tuned`, what the target is; `base`, the model below its adapter.
        how: How answers are written.
        system: The system message.
        why: Whether answers come with how likely their tokens were, and what else was.
    """

    speakers: tuple[str, ...] = (_TUNED,)
    how: Request
    system: str | None = None
    why: bool = False


class Speaker:
    """A conversation for a caller that waits; see `terminal.chat.Speaker`."""

    def __init__(self, conversation: Conversation, text: ModelText, loop: _Loop) -> None:
        self.conversation, self._text, self._loop = conversation, text, loop

    def reset(self) -> None:
        """Forget what was said."""
        self.conversation.reset()

    def answer(self, text: str) -> Generator[Said, None, None]:
        """See `Conversation.answer`; an interrupt while it waits ends the answer."""
        pieces = self.conversation.answer(text)
        try:
            while (piece := self._loop.run(anext(pieces, None))) is not None:
                yield self._said(piece)
        finally:
            self._loop.run(pieces.aclose())

    def _said(self, piece: Piece) -> Said:
        return Said(piece.content, piece.reasoning, tuple(map(self._chosen, piece.tokens)))

    def _chosen(self, token: Token) -> Chosen:
        others = [(self._text.piece(other), math.exp(p)) for other, p in token.alternatives if other != token.id]
        return Chosen(self._text.piece(token.id), math.exp(token.logprob), tuple(others[:SHOWN_ALTERNATIVES]))


@contextmanager
def open_speakers(target: str, settings: ChatSettings, engine: EngineSettings) -> Iterator[dict[str, Speaker]]:
    """Open a model, or two, to talk with.

    Args:
        target: A run, an adapter, a model by name, path or hub id, or a GGUF file.
        settings: Who answers, and how.
        engine: How they are run.

    Yields:
        Who answers, by name.

    Raises:
        WeitiaoError: There is no such model, it cannot be run, or there is no base model below it.
    """
    how = replace(settings.how, logprobs=SHOWN_ALTERNATIVES + 1 if settings.why else None)
    with _Loop() as loop:
        opened = loop.run(_open(target, settings, engine))
        try:
            yield {
                name: Speaker(
                    Conversation(one.engine, one.text, replace(how, adapter=adapter), system=settings.system),
                    one.text,
                    loop,
                )
                for name, (one, adapter) in opened.items()
            }
        finally:
            for engine_of in {id(one.engine): one.engine for one, _ in opened.values()}.values():
                loop.run(engine_of.close())


async def _open(
    target: str, settings: ChatSettings, engine: EngineSettings
) -> dict[str, tuple[OpenEngine, str | None]]:
    """The engine of each speaker, and its adapter in it: one engine for both where the adapter can stand beside."""
    final = find_final(target)
    if final is None or not is_adapter(final):
        if settings.speakers != (_TUNED,) or engine.base is not None:
            raise ModelError(
                f"{target} has no adapter that can be switched off: there are not two models in it.",
                "Name a run or a directory with an adapter of PEFT, or leave --base, --compare and --base-model out.",
            )
        return {_TUNED: (await open_engine(target, engine), None)}
    if settings.speakers == (_TUNED,):
        return {_TUNED: (await open_engine(target, engine), None)}
    config = base_model(final) if engine.base is None else find_moved(engine.base, final)
    both = _TUNED in settings.speakers
    beside = {_TUNED: final} if both and is_plain(final) else {}
    own = replace(engine, engine="own", base=config, adapters=beside)
    base = _asked_like(final_tokenizer(final, config), await open_engine(config.name, own))
    if not both:
        return {"base": (base, None)}
    tuned = (base, _TUNED) if beside else (await open_engine(target, replace(engine, engine="own")), None)
    return {"base": (base, None), _TUNED: tuned}


def _asked_like(tokenizer: PreTrainedTokenizerFast, base: OpenEngine) -> OpenEngine:
    """A base model with the template of what was tuned, and the ends of both."""
    ends = {end for end in (tokenizer.eos_token_id, end_of_turn_id(tokenizer)) if end is not None}
    return replace(base, text=ModelText(tokenizer, base.text.stop_ids | ends))


class _Loop:
    """An event loop in a thread of its own, for a caller that waits for one thing after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="weitiao-chat", daemon=True)

    def __enter__(self) -> _Loop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Awaitable[T]) -> T:
        """Wait for something; where the wait is interrupted, it is given up, and has ended when this raises."""
        ended = Event()

        async def awaited() -> T:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            ended.wait()
            raise
