"""llama.cpp behind the interface of engines: its own server in a child process, token ids in and out."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from weitiao.errors import MissingExtraError
from weitiao.models.load import read_tokenizer
from weitiao.serve.child import ChildServer, free_port
from weitiao.serve.engine import Request, Served, ServeError, Token
from weitiao.serve.own.grammar import WHITESPACE, Grammars
from weitiao.serve.token_bytes import TokenBytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class LlamaEngine:
    """Writes answers with llama.cpp (`xllamacpp`: prebuilt, and llama.cpp's own continuous batching and prompt cache).

    Its server tells of a character that is several tokens only when it is complete, and then the last token alone. The
    others follow from the bytes; their log-probability is not known (NaN). Where the bytes are no text, or the answer
    is broken off inside of a character, the answer is asked for once more as a whole, which has all of its tokens.

    Args:
        model: A GGUF file.
        tokenizer: A directory with that of the file.
        context: Tokens of an answer and its prompt together.
        slots: Answers that are written at once.
        threads: That compute.
        adapters: Name and GGUF file of each LoRA adapter.

    Attributes:
        tokenizer: That of the file; after `start`.

    Raises:
        MissingExtraError: `xllamacpp` is not installed.
    """

    tokenizer: PreTrainedTokenizerFast
    _bytes: TokenBytes
    _grammars: Grammars

    def __init__(
        self,
        model: Path,
        tokenizer: Path,
        *,
        context: int,
        slots: int,
        threads: int,
        adapters: Mapping[str, Path] | None = None,
    ) -> None:
        if find_spec("xllamacpp") is None:
            raise MissingExtraError("Serving a GGUF file", "serve")
        self.served = Served(name="llama.cpp", context=context, slots=slots, adapters=dict(adapters or {}))
        self._tokenizer_directory = tokenizer
        self._folder = TemporaryDirectory(prefix="weitiao-")
        port, key = free_port(), secrets.token_hex(16)
        settings = {
            "model": str(model),
            "port": port,
            "key": key,
            "context": context,
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
        """Load the model, and read its tokenizer meanwhile."""
        starting = asyncio.create_task(self.child.start())
        try:
            self.tokenizer = await asyncio.to_thread(read_tokenizer, self._tokenizer_directory)
        except BaseException:
            starting.cancel()
            with suppress(asyncio.CancelledError, ServeError):
                await starting
            await self.close()
            raise
        self._bytes, self._grammars = TokenBytes(self.tokenizer), Grammars(self.tokenizer)
        await starting

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        """Write an answer; see `Engine`."""
        if request.schema is not None:  # what llama.cpp cannot make a grammar of, it passes over without a word
            await asyncio.to_thread(self._grammars.of, request.schema, request.stop_ids)
        limit, num = min(request.max_tokens, self.served.context - len(request.prompt)), 0
        held: Token | None = None  # a token that may be the last: llama.cpp knows more of those that end an answer
        async with aclosing(self._tokens(self._asked(request, limit), request.logprobs)) as tokens:
            async for token in tokens:
                if held is not None:
                    yield held
                    held = None
                num += 1
                if token.id in request.stop_ids:
                    yield replace(token, finish="stop")
                    return
                if num == limit or self._bytes.is_added(token.id):
                    held = token
                else:
                    yield token
        if held is None:
            raise ServeError("llama.cpp ended an answer at a token that ends none.", "Ask again.")
        yield replace(held, finish="length" if num == limit else "stop")

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
            "n_predict": limit,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            "n_probs": 0 if request.logprobs is None else max(request.logprobs, 1),  # the vocabulary is sorted for it
            "samplers": ["top_k", "temperature", "top_p"],  # what is left by the first is all that the others go over
            "temperature": request.temperature,
            "top_k": (request.top_k or 0) if request.temperature else 1,
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

    async def _tokens(self, body: Mapping[str, Any], logprobs: int | None) -> AsyncGenerator[Token, None]:
        """The tokens of an answer as they come. When they end, the slot is free for the next."""
        num, cached, written = 0, 0, 0
        async with aclosing(self.child.stream("/completion", body)) as events:
            async for event in events:
                if "error" in event:
                    raise ServeError(f"llama.cpp gave up: {event['error'].get('message')}", "Change the request.")
                if progress := event.get("prompt_progress"):
                    cached = int(progress["cache"])
                    continue
                written = int(event["tokens_predicted"])
                found = None if event["stop"] else self._read(event, logprobs, written - num)
                if found is None:
                    break
                for token in found:
                    num += 1
                    yield replace(token, cached=cached) if num == 1 else token
        if num < written:
            whole = json.loads(await self.child.post("/completion", {**body, "stream": False, "n_probs": 0}))
            for place, number in enumerate(whole["tokens"][num:], num):
                yield Token(int(number), float("nan"), cached=cached if place == 0 else 0)

    def _read(self, event: Mapping[str, Any], logprobs: int | None, num: int) -> list[Token] | None:
        """The tokens of an event, which tells of the last of `num`; None where they do not follow from it."""
        (last,) = event["tokens"]
        told: Mapping[str, Any] = {} if logprobs is None else event["completion_probabilities"][0]
        text = event["content"].encode() if logprobs is None else bytes(told["bytes"])
        ids = self._bytes.splits(text, num, last) if num > 1 else [last]
        if ids is None:
            return None
        likely = tuple((int(one["id"]), float(one["logprob"])) for one in told.get("top_logprobs", ())[:logprobs])
        unknown = [Token(token, float("nan")) for token in ids[:-1]]
        return [*unknown, Token(last, float(told.get("logprob", "nan")), likely)]
