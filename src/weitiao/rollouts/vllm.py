"""Answers written by a vLLM server, which gets the adapter as it is now before every rollout."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from weitiao.errors import ModelError
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import Completion
from weitiao.rollouts.writing import seed_of

_AT_ONCE = 64
_REMEDY = (
    "Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora --max-lora-rank R "
    "--logprobs-mode processed_logprobs; it has to see the run directory."
)


@dataclass(frozen=True, slots=True)
class VllmServer:
    """A `weitiao.rollouts.writing.Write`: token ids go to the server, token ids and their log-probabilities come back.

    A server, not the library: vLLM wants other versions of torch and transformers, and GPUs of its own. Adapters are
    handed over as files; equal prompts are one request, so that they share their prefill.

    Attributes:
        url: Of the server, with or without `/v1`.
        save: Writes the adapter of a model in PEFT's form into a directory.
        directory: Where adapters lie while they are handed over; the server sees it under the same name.
        timeout_seconds: How long to wait for the answers to one prompt.
    """

    url: str
    save: Callable[[Path, nn.Module], None]
    directory: Path
    timeout_seconds: float = 600.0

    def __call__(
        self, model: nn.Module, prompts: Sequence[Sequence[int]], config: GenerationConfig, stops: frozenset[int]
    ) -> list[Completion]:
        self.directory.mkdir(parents=True, exist_ok=True)
        groups = [(list(ids), len(list(same))) for ids, same in groupby(map(tuple, prompts))]
        name = f"weitiao-{uuid.uuid4().hex}"
        with TemporaryDirectory(dir=self.directory) as folder:
            self.save(Path(folder), model)
            self._post("load_lora_adapter", {"lora_name": name, "lora_path": str(Path(folder).resolve())})
            try:
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    asked = [request(name, ids, num, config, stops, place) for place, (ids, num) in enumerate(groups)]
                    replies = list(pool.map(lambda body: self._post("completions", body), asked))
            finally:
                self._post("unload_lora_adapter", {"lora_name": name})
        try:
            return [
                one for reply, (_, num) in zip(replies, groups, strict=True) for one in completions(reply, num, stops)
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise ModelError(f"{self.url} does not answer as a vLLM server does: {error!r}.", _REMEDY) from error

    def _post(self, verb: str, body: dict[str, Any]) -> Any:
        url = f"{self.url.rstrip('/').removesuffix('/v1')}/v1/{verb}"
        sent = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(sent, timeout=self.timeout_seconds) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            said = error.read(500).decode("utf-8", "replace").strip()
            raise ModelError(f"The server {url} refuses ({error.code}): {said}", _REMEDY) from error
        except OSError as error:
            raise ModelError(
                f"The server {url} cannot be reached: {getattr(error, 'reason', error)}.", _REMEDY
            ) from error
        return json.loads(text) if verb == "completions" else None


def request(
    name: str, ids: Sequence[int], num: int, config: GenerationConfig, stops: frozenset[int], place: int
) -> dict[str, Any]:
    """What vLLM's `/v1/completions` is asked for `num` answers to a prompt; `place` tells equal seeds apart."""
    return {
        "model": name,
        "prompt": list(ids),
        "n": num,
        "max_tokens": config.max_new_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k or -1,
        "seed": seed_of(config.seed, place) % 2**31,
        "stop_token_ids": sorted(stops),
        "logprobs": 1,
        "return_token_ids": True,
    }


def completions(reply: dict[str, Any], num: int, stops: frozenset[int]) -> list[Completion]:
    """The answers in a reply of `/v1/completions`.

    Raises:
        ValueError: They are not so many, or tokens and log-probabilities are not equally many.
    """
    choices = sorted(reply["choices"], key=lambda one: int(one["index"]))
    if len(choices) != num:
        raise ValueError(f"{len(choices)} answers for {num}")
    found = []
    for one in choices:
        ids, logprobs = tuple(map(int, one["token_ids"])), tuple(map(float, one["logprobs"]["token_logprobs"]))
        if len(ids) != len(logprobs):
            raise ValueError(f"{len(ids)} tokens, {len(logprobs)} log-probabilities")
        ended = bool(ids) and ids[-1] in stops
        found.append(Completion(ids[:-1] if ended else ids, ended, ids[-1] if ended else None, logprobs))
    return found
