"""`/v1/completions`: text that is gone on with, without a template."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from weitiao.serve.answering import Asked, Part
from weitiao.serve.api.bodies import CompletionBody
from weitiao.serve.api.context import Context, known, usage
from weitiao.serve.api.errors import ApiError
from weitiao.serve.api.streams import answered, primed
from weitiao.serve.engine import Token
from weitiao.serve.models import Writer
from weitiao.serve.text import ModelText, Prompt


@dataclass(slots=True)
class _Place:
    """How far the text of a choice has come, for the offsets of its tokens."""

    offset: int = 0


def completions_router(context: Context) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.post("/v1/completions", response_model=None)
    async def complete(body: CompletionBody, request: Request) -> Response:
        """Go on with texts."""
        every = await _ask(context, body)
        if body.stream:
            return await primed(_chunks(context, body, every), done=True)
        return await answered(request, _whole(context, body, every))

    return router


async def _ask(context: Context, body: CompletionBody) -> list[Asked]:
    chosen = context.writer(body)
    texts = _prompts(body.prompt)
    if len(texts) * (body.n or 1) > context.answering.limits.choices:
        most = context.answering.limits.choices
        raise ApiError(400, f"prompt, n: at most {most} answers are given to a request.", param="n")
    every = []
    for text in texts:
        prompt = await context.answering.aside(_prompt, chosen[0], text)
        shown = text if isinstance(text, str) else chosen[0].text.tokenizer.decode(text)
        every.append(
            context.asked(
                body,
                "cmpl",
                chosen,
                prompt,
                max_tokens=body.max_tokens,
                choices=body.n or 1,
                stop=body.stops,
                logprobs=body.logprobs,
                messages=[{"role": "user", "content": shown}],
            )
        )
    return every


def _prompts(prompt: str | list[Any]) -> list[str | list[int]]:
    if isinstance(prompt, str):
        return [prompt]
    return [prompt] if all(isinstance(one, int) for one in prompt) else prompt


def _prompt(writer: Writer, text: str | list[int]) -> Prompt:
    if isinstance(text, str):
        return writer.text.raw(text)
    size = len(writer.text.tokenizer)
    if not text or not all(0 <= token < size for token in text):
        raise ApiError(400, f"prompt: token ids lie between 0 and {size - 1}.", param="prompt")
    return Prompt(tuple(text))


async def _whole(context: Context, body: CompletionBody, every: Sequence[Asked]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = []
    prompt_tokens = written = cached = 0
    for asked in every:  # one after the other; what is asked of several at once is asked in several requests
        found: list[list[Part]] = [[] for _ in range(asked.choices)]
        async with aclosing(context.answering.parts(asked)) as parts:
            async for part in parts:
                found[part.choice].append(part)
        for parts_of in found:
            choices.append(_choice(body, asked.writer.text, len(choices), parts_of, _Place()))
            written += parts_of[-1].num_tokens
        prompt_tokens += len(asked.prompt.ids)
        cached += found[0][-1].cached
    head = _head(every[0])
    return {**head, "choices": choices, "usage": usage(prompt_tokens, written, cached)}


async def _chunks(
    context: Context, body: CompletionBody, every: Sequence[Asked]
) -> AsyncGenerator[dict[str, Any], None]:
    head, first = _head(every[0]), 0
    prompt_tokens = written = cached = 0
    for asked in every:
        places = [_Place() for _ in range(asked.choices)]
        counts = [(0, 0)] * asked.choices
        async with aclosing(context.answering.parts(asked)) as parts:
            async for part in parts:
                counts[part.choice] = (part.num_tokens, part.cached)
                choice = _choice(body, asked.writer.text, first + part.choice, [part], places[part.choice])
                yield {**head, "choices": [choice]}
        first += asked.choices
        prompt_tokens += len(asked.prompt.ids)
        written += sum(num for num, _ in counts)
        cached += counts[0][1]
    if body.stream_options is not None and body.stream_options.include_usage:
        yield {**head, "choices": [], "usage": usage(prompt_tokens, written, cached)}


def _head(asked: Asked) -> dict[str, Any]:
    return {"id": asked.id, "object": "text_completion", "created": int(time.time()), "model": asked.writer.name}


def _choice(body: CompletionBody, text: ModelText, index: int, parts: Sequence[Part], place: _Place) -> dict[str, Any]:
    tokens = known([token for part in parts for token in part.piece.tokens])
    return {
        "index": index,
        "text": "".join(part.piece.content for part in parts),
        "logprobs": _logprobs(text, tokens, place) if body.logprobs is not None else None,
        "finish_reason": parts[-1].piece.finish,
    }


def _logprobs(text: ModelText, tokens: Sequence[Token], place: _Place) -> dict[str, Any]:
    pieces = [text.piece(token.id) for token in tokens]
    offsets = []
    for piece in pieces:
        offsets.append(place.offset)
        place.offset += len(piece)
    return {
        "tokens": pieces,
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{text.piece(one): logprob for one, logprob in token.alternatives} for token in tokens],
        "text_offset": offsets,
    }
