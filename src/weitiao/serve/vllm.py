"""vLLM behind the interface of engines: `vllm serve` as a child process, token ids in and out.

A program of its own, not the library: vLLM wants other versions of torch and transformers, in an environment of its
own (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html).
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from weitiao.serve.child import ChildServer, free_port
from weitiao.serve.engine import Finish, Request, Served, ServeError, Token

_PATIENCE_SECONDS = 900.0
"""Kernels are compiled when vLLM starts for the first time."""

_MOST_LOGPROBS = 20
_BASE, _OWN = "weitiao-base", "weitiao-own"


class VllmEngine:
    """Writes answers with vLLM; adapters are loaded and unloaded by it.

    Args:
        model: A directory in the Hugging Face layout.
        program: `vllm` of the environment that it is installed in, or that environment's directory.
        context: Tokens of an answer and its prompt together.
        slots: Answers that are written at once.
        adapters: Name and directory of each LoRA adapter.
        own: The adapter that requests without one mean; None is the model itself.
        rank: The largest of an adapter.

    Raises:
        ServeError: There is no such program.
    """

    def __init__(
        self,
        model: Path,
        *,
        program: Path,
        context: int,
        slots: int,
        adapters: Mapping[str, Path] | None = None,
        own: Path | None = None,
        rank: int = 64,
    ) -> None:
        found = shutil.which(program / "bin" / "vllm" if program.is_dir() else program)
        if found is None:
            raise ServeError(
                f"There is no program {program}.", "Install vLLM into an environment of its own, and name it: --vllm."
            )
        self._served = Served(name="vllm", context=context, slots=slots, adapters=dict(adapters or {}))
        self._folder = TemporaryDirectory(prefix="weitiao-")
        key, port = secrets.token_hex(16), free_port()
        command = [
            sys.executable, "-m", "weitiao.serve.watched", found, "serve", str(model),
            "--host", "127.0.0.1", "--port", str(port), "--served-model-name", _BASE,
            "--max-model-len", str(context), "--max-num-seqs", str(slots), "--max-logprobs", str(_MOST_LOGPROBS),
            "--logprobs-mode", "raw_logprobs", "--enable-prefix-caching", "--generation-config", "vllm",
            "--enable-lora", "--max-lora-rank", str(rank),
        ]  # fmt: skip
        self._default = _BASE if own is None else _OWN
        if modules := {**({} if own is None else {_OWN: own}), **self._served.adapters}:
            command += ["--lora-modules", *(f"{name}={path.resolve()}" for name, path in modules.items())]
        self.child = ChildServer(
            "vLLM",
            command,
            environment={**os.environ, "VLLM_API_KEY": key, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"},
            log=Path(self._folder.name) / "vllm.log",
            port=port,
            key=key,
            patience=_PATIENCE_SECONDS,
        )

    @property
    def served(self) -> Served:
        """See `Engine`."""
        return self._served

    async def start(self) -> None:
        """See `Engine`."""
        await self.child.start()

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        """See `Engine`."""
        if request.adapter is not None and request.adapter not in self._served.adapters:
            raise ServeError(f"vLLM has no adapter {request.adapter}.", "Load it first.")
        limit, num = min(request.max_tokens, self._served.context - len(request.prompt)), 0
        async with aclosing(
            self.child.stream("/v1/completions", asked(request, request.adapter or self._default, limit))
        ) as events:
            async for event in events:
                for token in tokens_of(event, request.logprobs or 0):
                    num += 1
                    ended = token.id in request.stop_ids
                    end: Finish | None = "stop" if ended else "length" if num == limit else token.finish
                    yield replace(token, finish=end)
                    if end is not None:
                        return

    async def load_adapter(self, name: str, directory: Path) -> None:
        """See `Engine`."""
        body = {"lora_name": name, "lora_path": str(directory.resolve())}
        await self.child.post("/v1/load_lora_adapter", body)
        self._served = replace(self._served, adapters={**self._served.adapters, name: directory})

    async def unload_adapter(self, name: str) -> None:
        """See `Engine`; vLLM finishes running answers by itself."""
        await self.child.post("/v1/unload_lora_adapter", {"lora_name": name})
        left = {other: path for other, path in self._served.adapters.items() if other != name}
        self._served = replace(self._served, adapters=left)

    async def close(self) -> None:
        """See `Engine`."""
        await self.child.close()
        self._folder.cleanup()


def asked(request: Request, model: str, limit: int) -> dict[str, Any]:
    """A request as vLLM's `/v1/completions` takes it."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(request.prompt),
        "max_tokens": limit,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k or -1,
        "seed": request.seed % 2**63,
        "stop_token_ids": sorted(request.stop_ids),
        "logprobs": request.logprobs or 0,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "skip_special_tokens": False,
        "stream": True,
    }
    if request.schema is not None:
        schema = {"name": "answer", "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def tokens_of(event: Mapping[str, Any], logprobs: int) -> list[Token]:
    """The tokens in an event of a stream; the last has the reason why the answer ended, if it did."""
    found: list[Token] = []
    for choice in event["choices"]:
        told = choice["logprobs"] or {}
        ids, own = choice.get("token_ids") or [], told.get("token_logprobs") or []
        likely = told.get("top_logprobs") or [{}] * len(ids)
        found += [
            Token(token, float(logprob), _ranked(alternatives or {}, logprobs))
            for token, logprob, alternatives in zip(ids, own, likely, strict=True)
        ]
        if found and choice.get("finish_reason") in ("stop", "length"):
            found[-1] = replace(found[-1], finish=choice["finish_reason"])
    return found


def _ranked(alternatives: Mapping[str, float], num: int) -> tuple[tuple[int, float], ...]:
    ranked = sorted(alternatives.items(), key=lambda one: -one[1])[:num]
    return tuple((int(name.removeprefix("token_id:")), logprob) for name, logprob in ranked)
