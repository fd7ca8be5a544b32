"""What all endpoints share: who is asked, and how a request becomes one to an engine."""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weitiao.data.example import Message
from weitiao.serve.answering import Answering, Asked
from weitiao.serve.api.bodies import Sampling
from weitiao.serve.api.errors import ApiError
from weitiao.serve.engine import Request, Token
from weitiao.serve.models import Writer
from weitiao.serve.routing import Routes
from weitiao.serve.text import ModelText, Prompt


@dataclass(frozen=True)
class Context:
    """What the endpoints of an app work with.

    Attributes:
        answering: Lets models answer.
        routes: Who answers what is asked of the route.
    """

    answering: Answering
    routes: Routes

    def writer(self, body: Sampling) -> tuple[Writer, bool]:
        """Who answers a request, and whether the route chose.

        Raises:
            UnknownModelError: There is no such model.
        """
        routed = self.routes.names(body.model)
        name = self.routes.choose(body.user) if routed else body.model
        return self.answering.models.writer(name), routed

    def asked(
        self,
        body: Sampling,
        kind: str,
        chosen: tuple[Writer, bool],
        prompt: Prompt,
        *,
        max_tokens: int | None,
        choices: int = 1,
        stop: tuple[str, ...] = (),
        logprobs: int | None = None,
        schema: dict[str, Any] | None = None,
        messages: Sequence[Message] = (),
    ) -> Asked:
        """A request to a model.

        Raises:
            TooLongError: Prompt or answer is too long.
            ApiError: It wants too many answers.
        """
        writer, routed = chosen
        if choices > self.answering.limits.choices:
            raise ApiError(400, f"n: at most {self.answering.limits.choices} answers are given.", param="n")
        return Asked(
            id=f"{kind}-{uuid.uuid4().hex}",
            writer=writer,
            routed=routed,
            prompt=prompt,
            request=Request(
                prompt=prompt.ids,
                adapter=writer.adapter,
                max_tokens=self.answering.require_room(writer, prompt, max_tokens),
                stop_ids=writer.text.stop_ids,
                temperature=body.temperature or 0.0,
                top_k=body.top_k,
                top_p=1.0 if body.top_p is None else body.top_p,
                seed=secrets.randbits(31) if body.seed is None else body.seed % 2**63,
                logprobs=logprobs,
                schema=schema,
            ),
            stop=stop,
            choices=choices,
            user=body.user,
            messages=messages,
        )


def call_schema(prompt: Prompt, schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """The schema that an answer has to fit, if not the one that was asked for: that of a call that has to be made.

    Raises:
        ApiError: Both are wanted, or the parameters of a function are no schema.
    """
    if prompt.schema is None:
        return schema
    if schema is not None:
        raise ApiError(400, "tool_choice: an answer that has to be a call has no format besides.", param="tool_choice")
    return checked_schema("json_schema", prompt.schema, "tools")


def checked_schema(kind: str, schema: dict[str, Any] | None, param: str = "response_format") -> dict[str, Any] | None:
    """The schema that an answer has to fit; None for text.

    Raises:
        ApiError: It is no JSON Schema, or one that refers to other places.
    """
    from jsonschema import Draft202012Validator, SchemaError

    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if schema is None:
        raise ApiError(400, "json_schema: the schema is missing.", param=param)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path))
        raise ApiError(400, f"json_schema: {place or 'it'}: {error.message}.", param=param) from error
    except RecursionError as error:
        raise ApiError(400, "json_schema: it is nested too deeply.", param=param) from error
    if lost := next((one for one in _references(schema) if not _leads_somewhere(schema, one)), None):
        raise ApiError(400, f"json_schema: there is no {lost!r} in the schema.", param=param)
    return schema


def _leads_somewhere(schema: Any, reference: str) -> bool:
    """Whether a JSON pointer (RFC 6901) leads to a part of the schema."""
    if not reference.startswith("#"):
        return False
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and key in schema:
            schema = schema[key]
        elif isinstance(schema, list) and key.isdecimal() and int(key) < len(schema):
            schema = schema[int(key)]
        else:
            return False
    return isinstance(schema, (dict, bool))


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for one in schema for found in _references(one)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [found for one in schema.values() for found in _references(one)]


def usage(prompt_tokens: int, written: int, cached: int) -> dict[str, Any]:
    """Counts as completions have them: what was read, and all that was written, the tokens that ended answers too."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written,
        "total_tokens": prompt_tokens + written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def token_entry(text: ModelText, token: Token) -> dict[str, Any]:
    """A token with its log-probability and the alternatives, as chat completions have it."""
    one = _entry(text, token.id, token.logprob)
    return {**one, "top_logprobs": [_entry(text, number, logprob) for number, logprob in token.alternatives]}


def _entry(text: ModelText, token: int, logprob: float) -> dict[str, Any]:
    return {"token": text.piece(token), "logprob": logprob, "bytes": list(text.bytes[token])}


def known(tokens: Sequence[Token]) -> list[Token]:
    """Those whose log-probability is known: an engine may not tell of all tokens inside of a character."""
    return [one for one in tokens if not math.isnan(one.logprob)]
