"""`/v1/responses`, OpenAI's newer interface: what its client needs; each request brings the whole conversation."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from weitiao.data.example import Message
from weitiao.serve.answering import Asked, Part
from weitiao.serve.api.bodies import ChosenFunction, ResponsesBody, TextSettings
from weitiao.serve.api.context import Context, call_schema, checked_schema
from weitiao.serve.api.errors import ApiError
from weitiao.serve.api.streams import answered, primed

Event = dict[str, Any]


def responses_router(context: Context) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.post("/v1/responses", response_model=None)
    async def respond(body: ResponsesBody, request: Request) -> Response:
        """Answer a conversation."""
        asked = await _ask(context, body)
        if body.stream:
            return await primed(_events(context, body, asked), done=False)
        return await answered(request, _whole(context, body, asked))

    return router


async def _ask(context: Context, body: ResponsesBody) -> Asked:
    messages = _messages(body)
    if len(messages) > (most := context.answering.limits.messages):
        raise ApiError(400, f"input: at most {most} turns are taken.", param="input")
    form = body.text.format if body.text is not None else None
    schema = checked_schema(form.type, form.schema_) if form is not None else None
    choice = body.tool_choice
    tools = [_tool(one) for one in body.tools or ()] if choice != "none" else []
    call = choice.name if isinstance(choice, ChosenFunction) else choice == "required"
    chosen = context.writer(body)
    prompt = await context.answering.aside(chosen[0].text.chat, messages, tools, call)
    schema, limit = call_schema(prompt, schema), body.max_output_tokens
    return context.asked(body, "resp", chosen, prompt, max_tokens=limit, schema=schema, messages=messages)


def _messages(body: ResponsesBody) -> list[Message]:
    """The input as turns: calls and what came of them are items of their own here."""
    first: list[Message] = [{"role": "system", "content": body.instructions}] if body.instructions else []
    items = [{"role": "user", "content": body.input}] if isinstance(body.input, str) else body.input
    turns: list[Message] = []
    for place, item in enumerate(items):
        match item.get("type", "message"):
            case "message":
                turns.append({"role": item.get("role"), "content": item.get("content")})
            case "function_call":
                call = {
                    "id": item.get("call_id"),
                    "type": "function",
                    "function": {"name": item.get("name"), "arguments": item.get("arguments")},
                }
                if turns and turns[-1].get("tool_calls"):
                    turns[-1]["tool_calls"].append(call)
                else:
                    turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "function_call_output":
                turn = {"role": "tool", "content": item.get("output"), "tool_call_id": item.get("call_id")}
                turns.append(turn)
            case "reasoning":
                continue  # the template takes it out of earlier turns
            case kind:
                raise ApiError(400, f"input.{place}: items of the type {kind!r} are not taken.", param="input")
    return [*first, *turns]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A function as chat completions have it: wrapped."""
    if tool.get("type") != "function":
        raise ApiError(400, f"tools: only functions are taken, not {tool.get('type')!r}.", param="tools")
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


@dataclass
class _Output:
    """What a response consists of so far, and the events that told of it."""

    body: ResponsesBody
    asked: Asked
    created: float = field(default_factory=time.time)
    items: list[dict[str, Any]] = field(default_factory=list)
    text: dict[str, Any] | None = None
    number: int = -1
    thought: int = 0  # tokens of reasoning

    def event(self, kind: str, **values: Any) -> Event:
        self.number += 1
        return {"type": kind, "sequence_number": self.number, **values}

    def take(self, part: Part) -> list[Event]:
        """The events of what came."""
        events: list[Event] = []
        if part.piece.reasoning and not part.piece.content:
            self.thought += len(part.piece.tokens)
        if part.piece.content:
            if self.text is None:
                events += self._begin()
            assert self.text is not None
            self.text["content"][0]["text"] += part.piece.content
            at = {"item_id": self.text["id"], "output_index": self.items.index(self.text), "content_index": 0}
            events.append(self.event("response.output_text.delta", **at, delta=part.piece.content, logprobs=[]))
        for call in part.piece.calls:
            events += self._end_text()
            name = uuid.uuid4().hex
            item = {
                "id": f"fc_{name}", "type": "function_call", "status": "completed", "call_id": f"call_{name[:24]}",
                "name": call.name, "arguments": call.arguments,
            }  # fmt: skip
            index = len(self.items)
            self.items.append(item)
            at = {"item_id": item["id"], "output_index": index}
            begun = {**item, "status": "in_progress", "arguments": ""}
            events.append(self.event("response.output_item.added", output_index=index, item=begun))
            events.append(self.event("response.function_call_arguments.delta", **at, delta=call.arguments))
            done = self.event("response.function_call_arguments.done", **at, name=call.name, arguments=call.arguments)
            events += [done, self.event("response.output_item.done", output_index=index, item=item)]
        if part.piece.finish is not None:
            if not self.items:
                events += self._begin()
            events += self._end_text()
        return events

    def _begin(self) -> list[Event]:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self.text = {
            "id": f"msg_{uuid.uuid4().hex}", "type": "message", "status": "in_progress", "role": "assistant",
            "content": [part],
        }  # fmt: skip
        self.items.append(self.text)
        index = len(self.items) - 1
        at = {"item_id": self.text["id"], "output_index": index, "content_index": 0}
        return [
            self.event("response.output_item.added", output_index=index, item={**self.text, "content": []}),
            self.event("response.content_part.added", **at, part={**part}),
        ]

    def _end_text(self) -> list[Event]:
        if (text := self.text) is None:
            return []
        self.text, part = None, text["content"][0]
        text["status"] = "completed"
        index = self.items.index(text)
        at = {"item_id": text["id"], "output_index": index, "content_index": 0}
        return [
            self.event("response.output_text.done", **at, text=part["text"], logprobs=[]),
            self.event("response.content_part.done", **at, part=part),
            self.event("response.output_item.done", output_index=index, item=text),
        ]

    def response(self, last: Part | None = None) -> dict[str, Any]:
        """The whole response, as far as it is."""
        cut = last is not None and last.piece.finish == "length"
        request, body = self.asked.request, self.body
        form = (body.text or TextSettings()).model_dump(by_alias=True, exclude_none=True)
        counts = None
        if last is not None:
            num = len(self.asked.prompt.ids)
            counts = {
                "input_tokens": num, "input_tokens_details": {"cached_tokens": last.cached},
                "output_tokens": last.num_tokens, "output_tokens_details": {"reasoning_tokens": self.thought},
                "total_tokens": num + last.num_tokens,
            }  # fmt: skip
        return {
            "id": self.asked.id,
            "object": "response",
            "created_at": self.created,
            "status": "in_progress" if last is None else "incomplete" if cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": body.instructions,
            "metadata": body.metadata or {},
            "model": self.asked.writer.name,
            "output": list(self.items),
            "parallel_tool_calls": True,
            "temperature": request.temperature,
            "tool_choice": body.model_dump()["tool_choice"] or "auto",
            "tools": body.tools or [],
            "top_p": request.top_p,
            "max_output_tokens": body.max_output_tokens,
            "previous_response_id": None,
            "text": form,
            "truncation": "disabled",
            "user": body.user,
            "usage": counts,
        }


async def _whole(context: Context, body: ResponsesBody, asked: Asked) -> dict[str, Any]:
    output, last = _Output(body, asked), None
    async with aclosing(context.answering.parts(asked)) as parts:
        async for last in parts:
            output.take(last)
    return output.response(last)


async def _events(context: Context, body: ResponsesBody, asked: Asked) -> AsyncGenerator[Event, None]:
    output, last = _Output(body, asked), None
    async with aclosing(context.answering.parts(asked)) as parts:
        async for last in parts:
            if output.number < 0:  # not before it is clear that there is an answer
                yield output.event("response.created", response=output.response())
                yield output.event("response.in_progress", response=output.response())
            for event in output.take(last):
                yield event
    assert last is not None, "an answer has an end"
    kind = "response.incomplete" if last.piece.finish == "length" else "response.completed"
    yield output.event(kind, response=output.response(last))
