"""`/v1/chat/completions`."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from weitiao.serve.answering import Asked, Part
from weitiao.serve.api.bodies import ChatBody, ChosenTool
from weitiao.serve.api.context import Context, call_schema, checked_schema, known, token_entry, usage
from weitiao.serve.api.errors import ApiError
from weitiao.serve.api.streams import answered, primed
from weitiao.serve.calls import ToolCall


def chat_router(context: Context) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatBody, request: Request) -> Response:
        """Answer a conversation."""
        asked = await ask(context, body)
        if body.stream:
            return await primed(_chunks(context, body, asked), done=True)
        return await answered(request, _whole(context, body, asked))

    return router


async def ask(context: Context, body: ChatBody) -> Asked:
    """A conversation as a request to a model."""
    if len(body.messages) > (most := context.answering.limits.messages):
        raise ApiError(400, f"messages: at most {most} turns are taken.", param="messages")
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, "top_logprobs: set logprobs to true, too.", param="top_logprobs")
    form = body.response_format
    wanted = form.json_schema.schema_ if form is not None and form.json_schema is not None else None
    schema = checked_schema(form.type, wanted) if form is not None else None
    chosen = context.writer(body)
    choice = body.tool_choice
    tools = () if choice == "none" else body.tools or ()
    call = choice.function.name if isinstance(choice, ChosenTool) else choice == "required"
    prompt = await context.answering.aside(chosen[0].text.chat, body.messages, tools, call)
    return context.asked(
        body,
        "chatcmpl",
        chosen,
        prompt,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        choices=body.n or 1,
        stop=body.stops,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        schema=call_schema(prompt, schema),
        messages=body.messages,
    )


async def _whole(context: Context, body: ChatBody, asked: Asked) -> dict[str, Any]:
    found: list[list[Part]] = [[] for _ in range(asked.choices)]
    async with aclosing(context.answering.parts(asked)) as parts:
        async for part in parts:
            found[part.choice].append(part)
    choices = [_choice(body, asked, index, one) for index, one in enumerate(found)]
    ends = [one[-1] for one in found]
    counts = usage(len(asked.prompt.ids), sum(one.num_tokens for one in ends), ends[0].cached)
    return {**_head(asked, "chat.completion"), "choices": choices, "usage": counts}


def _choice(body: ChatBody, asked: Asked, index: int, parts: Sequence[Part]) -> dict[str, Any]:
    content = "".join(part.piece.content for part in parts)
    calls = [call for part in parts for call in part.piece.calls]
    message: dict[str, Any] = {"role": "assistant", "content": content or (None if calls else ""), "refusal": None}
    if reasoning := "".join(part.piece.reasoning for part in parts):
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(body, asked, parts),
        "finish_reason": parts[-1].piece.finish,
    }


async def _chunks(context: Context, body: ChatBody, asked: Asked) -> AsyncGenerator[dict[str, Any], None]:
    head = _head(asked, "chat.completion.chunk")
    begun: set[int] = set()
    num_calls = [0] * asked.choices
    counts = [(0, 0)] * asked.choices
    async with aclosing(context.answering.parts(asked)) as parts:
        async for part in parts:
            delta: dict[str, Any] = {}
            if part.choice not in begun:
                begun.add(part.choice)
                delta = {"role": "assistant", "content": ""}
            if part.piece.content:
                delta["content"] = part.piece.content
            if part.piece.reasoning:
                delta["reasoning_content"] = part.piece.reasoning
            if part.piece.calls:
                first = num_calls[part.choice]
                delta["tool_calls"] = [
                    {"index": first + place, **_call(call)} for place, call in enumerate(part.piece.calls)
                ]
                num_calls[part.choice] += len(part.piece.calls)
            counts[part.choice] = (part.num_tokens, part.cached)
            choice = {
                "index": part.choice,
                "delta": delta,
                "logprobs": _logprobs(body, asked, [part]),
                "finish_reason": part.piece.finish,
            }
            yield {**head, "choices": [choice]}
    if body.stream_options is not None and body.stream_options.include_usage:
        counted = usage(len(asked.prompt.ids), sum(num for num, _ in counts), counts[0][1])
        yield {**head, "choices": [], "usage": counted}


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": asked.id, "object": kind, "created": int(time.time()), "model": asked.writer.name}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _logprobs(body: ChatBody, asked: Asked, parts: Sequence[Part]) -> dict[str, Any] | None:
    if not body.logprobs:
        return None
    tokens = known([token for part in parts for token in part.piece.tokens])
    return {"content": [token_entry(asked.writer.text, token) for token in tokens], "refusal": None}
