"""llama.cpp's server with a LoRA adapter on a base model, as an `Engine`: the bindings that read other GGUF files put
no adapter on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import psutil

from weitiao.export.asking import pace
from weitiao.export.llama_engine import LlamaEngine
from weitiao.serve.engine import Request, Token
from weitiao.serve.llama import LlamaEngine as Server

T = TypeVar("T")

_NAME = "tuned"
_CONTEXT, _SLOTS = 4096, 2
_MOST_PLACES = 600
"""Places whose log-probability is asked: each is a request of its own."""
_CERTAIN = 1e6
"""Added to a logit so that the token is chosen; what is told is its probability without that."""


class LoraEngine:
    """A base model with an adapter.

    Args:
        base: The base model's GGUF file.
        adapter: The adapter's.
        tokenizer: A directory with the tokenizer of both.
        threads: To compute with.

    Raises:
        WeitiaoError: The server is not installed, or does not load them.
    """

    def __init__(self, base: Path, adapter: Path, tokenizer: Path, threads: int) -> None:
        self._plain = LlamaEngine(base, threads)
        self._loop = asyncio.new_event_loop()
        self._server = Server(
            base, tokenizer, context=_CONTEXT, slots=_SLOTS, threads=threads, adapters={_NAME: adapter}
        )
        self._run(self._server.start())

    def tokens(self, text: str) -> tuple[int, ...]:
        return self._plain.tokens(text)

    def speed(self, prompt: tuple[int, ...], num_tokens: int) -> float:
        request = Request(prompt=prompt, adapter=_NAME, max_tokens=num_tokens)
        return pace([seconds for _, seconds in self._run(self._write(request))])

    def logprobs(self, sequences: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]) -> list[tuple[float, ...]]:
        found, left = list[tuple[float, ...]](), _MOST_PLACES
        for ids, places in sequences:
            told = list[float]()
            for place in places[: max(left, 0)]:
                logprob = self._run(self._logprob(ids, place))
                if logprob is None:
                    break
                told.append(logprob)
            left -= len(told)
            found.append(tuple(told))
        return found

    def answers(
        self, prompts: tuple[tuple[int, ...], ...], stop_ids: frozenset[int], max_new_tokens: int
    ) -> list[tuple[tuple[int, ...], bool]]:
        return [self._run(self._answer(prompt, stop_ids, max_new_tokens)) for prompt in prompts]

    @property
    def ends(self) -> frozenset[int]:
        return self._plain.ends

    @property
    def template(self) -> str | None:
        return self._plain.template

    @property
    def memory_bytes(self) -> int:
        return int(psutil.Process(self._server.child.pid).memory_info().rss)

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(doing)

    async def _write(self, request: Request) -> list[tuple[Token, float]]:
        async with aclosing(self._server.generate(request)) as written:
            return [(token, time.perf_counter()) async for token in written]

    async def _answer(
        self, prompt: tuple[int, ...], stop_ids: frozenset[int], max_new_tokens: int
    ) -> tuple[tuple[int, ...], bool]:
        request = Request(prompt=prompt, adapter=_NAME, max_tokens=max_new_tokens, stop_ids=stop_ids)
        ids = tuple(token.id for token, _ in await self._write(request))
        return (ids[:-1], True) if ids[-1] in stop_ids else (ids, False)

    async def _logprob(self, ids: tuple[int, ...], place: int) -> float | None:
        """What the model gives a token behind those before it: the token is chosen by force. None for a token that is
        part of a character: the server tells of whole characters only."""
        body = {
            "prompt": list(ids[:place]), "n_predict": 1, "n_probs": 1, "stream": True, "cache_prompt": True,
            "return_tokens": True, "temperature": 0.0, "logit_bias": [[ids[place], _CERTAIN]],
            "lora": [{"id": 0, "scale": 1.0}],
        }  # fmt: skip
        async with aclosing(self._server.child.stream("/completion", body)) as events:
            async for event in events:
                if event.get("completion_probabilities"):
                    return float(event["completion_probabilities"][0]["logprob"])
        return None


def open_lora(directory: Path, threads: int, *, base: Path, tokenizer: Path) -> LoraEngine:
    """Open the adapter of a directory on a base model's GGUF file."""
    return LoraEngine(base, next(directory.glob("*.gguf")), tokenizer, threads)
