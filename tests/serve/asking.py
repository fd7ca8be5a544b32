"""Small random models on disk, and questions to an engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import torch
from reference import family_config
from transformers import AutoModelForCausalLM, AutoTokenizer, Lfm2Config, PreTrainedConfig

from weitiao.serve.engine import Request, Token
from weitiao.serve.own.engine import OwnEngine, OwnSettings

VOCABULARY = 400  # of the tiny tokenizer


def hybrid() -> PreTrainedConfig:
    """Convolutions and attention: rows are run alone."""
    return Lfm2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, layer_types=["conv", "full_attention"], initializer_range=0.15, pad_token_id=0,
        max_position_embeddings=512,
    )  # fmt: skip


def save_model(directory: Path, tokenizer: Path, family: str, **settings: Any) -> Path:
    """A random member of a family with the tiny tokenizer."""
    config = hybrid() if family == "lfm2" else family_config(family)
    for name, value in {"vocab_size": VOCABULARY, **settings}.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(directory)
    return directory


def reference_answer(model: Any, prompt: Sequence[int], num_tokens: int, stop: int | None = None) -> list[int]:
    """What transformers writes greedily to a prompt alone, with the token that ends it."""
    ids = torch.tensor([list(prompt)])
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=num_tokens,
        eos_token_id=stop, pad_token_id=0,
    )  # fmt: skip
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens


def reference_logprobs(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """The log-probabilities [N, V] at each token of an answer, by the model's own forward."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0]
    found: torch.Tensor = logits[len(prompt) - 1 : -1].float().log_softmax(-1)
    return found


async def ask(engine: OwnEngine, request: Request) -> list[Token]:
    return [token async for token in engine.generate(request)]


async def ask_all(engine: OwnEngine, requests: Sequence[Request]) -> list[list[Token]]:
    return list(await asyncio.gather(*(ask(engine, request) for request in requests)))


def ids(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens]


@asynccontextmanager
async def running(
    target: Path | str, adapters: dict[str, Path] | None = None, **settings: Any
) -> AsyncIterator[OwnEngine]:
    engine = OwnEngine(target, adapters=adapters, settings=OwnSettings(**settings))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def with_engine(
    do: Callable[[OwnEngine], Awaitable[Any]],
    target: Path | str,
    adapters: dict[str, Path] | None = None,
    **settings: Any,
) -> Any:
    """Do something with an engine that runs."""

    async def main() -> Any:
        async with running(target, adapters, **settings) as engine:
            return await do(engine)

    return asyncio.run(asyncio.wait_for(main(), timeout=120))
