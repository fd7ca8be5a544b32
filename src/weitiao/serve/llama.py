"""llama.cpp behind the interface of engines: its own server in a child process, token ids in and out."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from weitiao.errors import MissingExtraError
from weitiao.serve.child import ChildServer, free_port
from weitiao.serve.engine import Request, Served, ServeError, Token
from weitiao.serve.own.grammar import WHITESPACE, Grammars
from weitiao.serve.token_bytes import TokenBytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_LONGEST_CHARACTER = 4
"""Bytes, and so tokens at most, of a character."""


class LlamaEngine:
    """Writes answers with llama.cpp (`xllamacpp`: prebuilt, and llama.cpp's own continuous batching and prompt cache).

    Its server tells of a character that is several tokens only when it is complete, and then the last token alone. The
    others follow from the bytes; their log-probability is not known (NaN).

    Args:
        model: A GGUF file.
        tokenizer: That of the file.
        context: Tokens of an answer and its prompt together.
        slots: Answers that are written at once.
        threads: That compute.
        adapters: Name and GGUF file of each LoRA adapter.

    Raises:
        MissingExtraError: `xllamacpp` is not installed.
    """

    def __init__(
        self,
        model: Path,
        tokenizer: PreTrainedTokenizerFast,
        *,
        context: int,
        slots: int,
        threads: int,
        adapters: Mapping[str, Path] | None = None,
    ) -> None:
        if find_spec("xllamacpp") is None:
            raise MissingExtraError("Serving a GGUF file", "serve")
        self.served = Served(name="llama.cpp", context=context, slots=slots, adapters=dict(adapters or {}))
        self._bytes, self._grammars = TokenBytes(tokenizer), Grammars(tokenizer)
        self._folder = TemporaryDirectory(prefix="weitiao-")
        port, key = free_port(), secrets.token_hex(16)
        settings = {
            "model": str(model),
            "port": port,
            "key": key,
            "context": context + _LONGEST_CHARACTER,  # so that the last character is heard of
            "slots": slots,
            "threads": threads,
            "adapters": [str(path) for path in self.served.adapters.values()],
        }
        self.child = ChildServer(
            "llama.cpp",
            [sys.executable, "-m", "weitiao.serve.llama_child"],
            environment=os.environ,
            log=Path(self._folder.name) / "llama.log",
            port=port,
            key=key,
            told=json.dumps(settings),
        )

    async def start(self) -> None:
        """Load the model."""
        await self.child.start()

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        """Write an answer; see `Engine`."""
        if request.schema is not None:  # what llama.cpp cannot make a grammar of, it passes over without a word
            await asyncio.to_thread(self._grammars.of, request.schema, request.stop_ids)
        limit = min(request.max_tokens, self.served.context - len(request.prompt))
        num, cached = 0, 0
        held: Token | None = None  # a token that may be the last: llama.cpp knows more of those that end an answer
        async with aclosing(self.child.stream("/completion", self._asked(request, limit))) as events:
            async for event in events:
                if "error" in event:
                    raise ServeError(f"llama.cpp gave up: {event['error'].get('message')}", "Change the request.")
                if progress := event.get("prompt_progress"):
                    cached = int(progress["cache"])
                    continue
                if event["stop"]:
                    break
                for token in self._tokens(event, request.logprobs, event["tokens_predicted"] - num):
                    if held is not None:
                        yield held
                        held = None
                    num += 1
                    told = replace(token, cached=cached if num == 1 else 0)
                    if token.id in request.stop_ids or num == limit:
                        yield replace(told, finish="stop" if token.id in request.stop_ids else "length")
                        return
                    if self._bytes.is_added(token.id):
                        held = told
                    else:
                        yield told
        if held is None:
            raise ServeError("llama.cpp ended an answer with bytes that are no text.", "Ask again, or for more tokens.")
        yield replace(held, finish="stop")

    async def load_adapter(self, name: str, directory: Path) -> None:
        """Refused: llama.cpp reads adapters with the model."""
        raise ServeError(
            f"llama.cpp cannot take the adapter {name} while it runs.", "Name it when the server starts: --adapter."
        )

    async def unload_adapter(self, name: str) -> None:
        """Refused, as above."""
        raise ServeError(
            f"llama.cpp cannot let go of the adapter {name} while it runs.", "Start the server without it."
        )

    async def close(self) -> None:
        """Stop at once."""
        await self.child.close()
        self._folder.cleanup()

    def _asked(self, request: Request, limit: int) -> dict[str, Any]:
        """The request as `/completion` takes it (tools/server/README.md of llama.cpp)."""
        body: dict[str, Any] = {
            "prompt": list(request.prompt),
            "n_predict": limit + _LONGEST_CHARACTER - 1,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            "n_probs": max(request.logprobs, 1),
            "samplers": ["temperature", "top_k", "top_p"],
            "temperature": request.temperature,
            "top_k": request.top_k or 0,
            "top_p": request.top_p,
            "seed": request.seed % 2**32,
        }
        if request.schema is not None:
            body["json_schema"] = {**request.schema, "x-guidance": WHITESPACE}  # for llguidance, which it asks
        if names := list(self.served.adapters):
            if request.adapter is not None and request.adapter not in names:
                raise ServeError(f"llama.cpp has no adapter {request.adapter}.", f"It has {', '.join(names)}.")
            body["lora"] = [] if request.adapter is None else [{"id": names.index(request.adapter), "scale": 1.0}]
        return body

    def _tokens(self, event: Mapping[str, Any], logprobs: int, num: int) -> list[Token]:
        """The tokens of an event, which tells of the last of `num`."""
        (last,) = event["tokens"]
        (told,) = event["completion_probabilities"]
        ids = self._bytes.splits(bytes(told["bytes"]), num, last) if num > 1 else [last]
        if ids is None:
            raise ServeError("llama.cpp wrote a character of tokens that do not make it.", "Use another --engine.")
        likely = tuple((int(one["id"]), float(one["logprob"])) for one in told["top_logprobs"][:logprobs])
        unknown = [Token(token, float("nan")) for token in ids[:-1]]
        return [*unknown, Token(last, float(told["logprob"]), likely)]
