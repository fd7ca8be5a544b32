"""The engine of our own: the model as evaluation runs it, for requests that come and go.

One thread owns the model. Requests go to it through a queue, and tokens come back to the event loop that asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from weitiao.serve.engine import Request, RequestError, Served, ServeError, Token
from weitiao.serve.own.worker import STARTING, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from weitiao.models.config import ModelConfig
    from weitiao.serve.own.grammar import Grammars
    from weitiao.serve.own.loading import Loaded
    from weitiao.serve.own.schedule import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnSettings:
    """How much the engine does at once, and keeps.

    Attributes:
        slots: Answers that are written at once.
        context: Tokens of prompt and answer together; what the model has positions for where it is None.
        piece_tokens: Tokens of prompts that are run at once, beside the newest ones of all answers.
        prefix_bytes: Memory for what is kept of earlier prompts and answers.
        threads: That compute; OMP_NUM_THREADS, or the cores of this machine, where it is None.
    """

    slots: int = 16
    context: int | None = None
    piece_tokens: int = 256
    prefix_bytes: int = 2**30
    threads: int | None = None


class OwnEngine:
    """See `Engine`. Answers are, token by token, those of `weitiao eval`, whatever is answered beside them.

    Args:
        target: A run, an adapter, or a model by name, path or hub id: what requests without an adapter are answered by.
        adapters: Further adapters on the same base, by name.
        base: The base model of an adapter, where it is not the one that it names.
        settings: How much is done at once.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        adapters: Mapping[str, Path] | None = None,
        base: ModelConfig | None = None,
        settings: OwnSettings | None = None,
    ) -> None:
        self._target, self._base, self._settings = target, base, settings or OwnSettings()
        self._served = Served(name="own", context=0, slots=self._settings.slots, adapters=dict(adapters or {}))
        self._leaving: set[str] = set()
        self._inbox: SimpleQueue[Callable[[Worker], None]] = SimpleQueue()
        self._thread: Thread | None = None
        self._ready: Future[_Ready] = Future()
        self._lock, self._dead = Lock(), False

    @property
    def served(self) -> Served:
        """See `Engine`."""
        return self._served

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Of what requests without an adapter are answered by; after `start`."""
        return self._ready.result(timeout=0).loaded.tokenizer

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer; after `start`."""
        return self._ready.result(timeout=0).stop_ids

    async def start(self) -> None:
        """See `Engine`."""
        self._thread = Thread(target=self._run, name="weitiao-engine", daemon=True)
        self._thread.start()
        ready = await asyncio.wrap_future(self._ready)
        self._served = replace(self._served, context=ready.context)

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        """See `Engine`.

        Raises:
            RequestError: The prompt does not fit, or the schema cannot be met.
            ServeError: The engine died, or it does not know the adapter.
        """
        ready = self._require_ready()
        loop, tokens = asyncio.get_running_loop(), asyncio.Queue[Token | Exception]()

        def emit(token: Token | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(tokens.put_nowait, token)

        answer = self._accepted(ready, request, emit)
        if request.schema is not None:  # a large one takes a while to compile
            answer.grammar = await asyncio.to_thread(ready.grammars.of, request.schema, request.stop_ids)
        self._put(lambda worker: worker.schedule.add(answer))
        try:
            while True:
                token = await tokens.get()
                if isinstance(token, Exception):
                    raise token
                yield token
                if token.finish is not None:
                    return
        finally:
            with suppress(ServeError):  # nothing is left to be ended
                self._put(lambda worker: worker.schedule.cancel(answer))

    def _accepted(self, ready: _Ready, request: Request, emit: Callable[[Any], None]) -> Answer:
        from weitiao.models.parts import require_embeddings
        from weitiao.serve.own.schedule import Answer

        name, context, length = request.adapter, self._served.context, len(request.prompt)
        if name is not None and (name not in self._served.adapters or name in self._leaving):
            raise self._unknown(name)
        if not 0 < length < context:
            raise RequestError(
                f"A prompt of {length:,} tokens leaves no room for an answer in a context of {context:,}.",
                "Shorten the prompt.",
            )
        require_embeddings(ready.loaded.model, [("The prompt", request.prompt)])
        limit = min(request.max_tokens, context - length)
        return Answer(request, ready.loaded.own if name is None else name, limit, emit)

    async def load_adapter(self, name: str, directory: Path) -> None:
        """See `Engine`."""
        from weitiao.serve.own.loading import read_for

        ready = self._require_ready()
        if name in self._served.adapters:
            raise ServeError(f"There is an adapter {name} already.", "Unload it first, or choose another name.")
        adapter = await asyncio.to_thread(read_for, ready.loaded, directory)
        await self._call(lambda worker: worker.add(name, adapter))
        self._served = replace(self._served, adapters={**self._served.adapters, name: directory})

    async def unload_adapter(self, name: str) -> None:
        """See `Engine`. New requests for it are refused at once."""
        self._require_ready()
        if name not in self._served.adapters or name in self._leaving:
            raise self._unknown(name)
        self._leaving.add(name)
        gone: Future[None] = Future()
        self._put(lambda worker: worker.leaving.append((name, gone)))
        await asyncio.wrap_future(gone)
        left = {other: place for other, place in self._served.adapters.items() if other != name}
        self._served, self._leaving = replace(self._served, adapters=left), self._leaving - {name}

    async def close(self) -> None:
        """See `Engine`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with suppress(ServeError):  # it ended by itself
                self._put(lambda worker: worker.stop())
            await asyncio.to_thread(thread.join)

    def _unknown(self, name: str) -> ServeError:
        return ServeError(f"There is no adapter {name}.", f"There are: {', '.join(self._served.adapters) or 'none'}.")

    def _require_ready(self) -> _Ready:
        if self._thread is None:
            raise ServeError("The engine does not run.", STARTING)
        return self._ready.result(timeout=0)

    def _put(self, do: Callable[[Worker], None]) -> None:
        """Ask the worker to do something between two steps."""
        with self._lock:
            if self._dead:
                raise ServeError("The engine does not run.", STARTING)
            self._inbox.put(do)

    async def _call(self, do: Callable[[Worker], None]) -> None:
        """Let the worker do something between two steps."""
        done: Future[None] = Future()

        def run(worker: Worker) -> None:
            do(worker)
            done.set_result(None)

        self._put(run)
        await asyncio.wrap_future(done)

    def _run(self) -> None:
        """What the thread does: load, then serve until it is stopped."""
        try:
            ready, worker = _prepare(self._target, self._base, self._served.adapters, self._settings)
        except Exception as error:  # noqa: BLE001 (it is raised where `start` is awaited)
            self._ready.set_exception(error)
            return
        self._ready.set_result(ready)
        reason = worker.run(self._inbox)
        with self._lock:
            self._dead = True
        worker.end(self._inbox, reason)


@dataclass(frozen=True, slots=True)
class _Ready:
    loaded: Loaded
    grammars: Grammars
    stop_ids: frozenset[int]
    context: int


def _prepare(
    target: str | Path, base: ModelConfig | None, adapters: Mapping[str, Path], settings: OwnSettings
) -> tuple[_Ready, Worker]:
    """Load everything, and find out how the model may be run."""
    import torch

    from weitiao.generation.generate import stop_ids
    from weitiao.generation.joining import joining
    from weitiao.machine.hardware import choose_threads, detect_hardware
    from weitiao.serve.own.grammar import Grammars
    from weitiao.serve.own.loading import load, read_for
    from weitiao.serve.own.schedule import Schedule

    if settings.threads is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(settings.threads or choose_threads(detect_hardware()))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load(target, base=base, device=device, context=settings.context)
    for name, directory in adapters.items():
        adapter = read_for(loaded, directory)
        assert loaded.adapters is not None, "it was read for them"
        loaded.adapters.add(name, adapter)
    routing: Any = (lambda runs: None) if loaded.adapters is None else loaded.adapters.route
    rows = joining(loaded.model, prefix_bytes=settings.prefix_bytes, routing=routing)
    schedule = Schedule(rows, slots=settings.slots, piece_tokens=settings.piece_tokens)
    ready = _Ready(loaded, Grammars(loaded.tokenizer), stop_ids(loaded.model, loaded.tokenizer), loaded.context)
    return ready, Worker(loaded, schedule, rows.forget)
