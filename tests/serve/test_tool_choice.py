"""Calls that have to be made, by our own engine and by llama.cpp: what is written fits the function's parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
import tiny_gguf
import torch
from asking import save_model
from openai import OpenAI
from rendering.chat_styles import QWEN25
from serving import serving
from transformers import AutoTokenizer

POINT = {"type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"], "additionalProperties": False}
PARAMETERS: dict[str, dict[str, Any]] = {
    "move": {
        "type": "object", "properties": {"to": {"$ref": "#/$defs/Point"}}, "required": ["to"],
        "additionalProperties": False, "$defs": {"Point": POINT},
    },
    "stop": {
        "type": "object", "properties": {"now": {"type": "boolean"}}, "required": ["now"],
        "additionalProperties": False,
    },
}  # fmt: skip
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": one}}
    for name, one in PARAMETERS.items()
]
TURNS: Any = [{"role": "user", "content": "Go."}]


@pytest.fixture(scope="module")
def client(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    home = tmp_path_factory.mktemp("models")
    vocabulary = tiny_gguf.train_vocabulary()
    torch.manual_seed(0)
    model = tiny_gguf.random_model("llama", len(vocabulary[0]))
    model.config.max_position_embeddings = 1024
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_gguf, "TEMPLATE", QWEN25)
        file = tiny_gguf.write_gguf(home / "file.gguf", model, vocabulary)
    own = save_model(home / "own", tiny_llama_dir, "llama", max_position_embeddings=1024)
    tokenizer = AutoTokenizer.from_pretrained(own)
    tokenizer.chat_template = QWEN25
    tokenizer.save_pretrained(own)
    with serving(home / "server", f"own={own}", file) as served:
        yield OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("model", ["own", "file"])
@pytest.mark.parametrize("choice", ["required", "move", "stop"])
def test_a_call_is_made_of_a_function_that_may_be_called(client: OpenAI, model: str, choice: str) -> None:
    how: Any = choice if choice == "required" else {"type": "function", "function": {"name": choice}}
    settings: Any = {"model": model, "messages": TURNS, "tools": TOOLS, "tool_choice": how, "max_tokens": 80}
    found = client.chat.completions.create(**settings).choices[0]
    assert found.finish_reason == "tool_calls" and not found.message.content
    (call,) = found.message.tool_calls or []
    assert call.type == "function" and choice in ("required", call.function.name)
    jsonschema.validate(json.loads(call.function.arguments), PARAMETERS[call.function.name])
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**settings, stream=True)]
    (streamed,) = [one for delta in deltas for one in delta.tool_calls or []]
    assert streamed.function is not None and not any(delta.content for delta in deltas)
    assert (streamed.function.name, streamed.function.arguments) == (call.function.name, call.function.arguments)
    named: Any = how if isinstance(how, str) else {"type": "function", "name": choice}
    tools: Any = [{"type": "function", **one["function"]} for one in TOOLS]
    (item,) = client.responses.create(
        model=model, input="Go.", tools=tools, tool_choice=named, max_output_tokens=80
    ).output
    assert item.type == "function_call"
    assert (item.name, item.arguments) == (call.function.name, call.function.arguments)


def test_what_cannot_be_called_is_refused(client: OpenAI) -> None:
    def refused(match: str, **more: Any) -> None:
        with pytest.raises(openai.BadRequestError, match=match):
            client.chat.completions.create(model="own", messages=TURNS, **more)

    refused("no function to call: fly", tools=TOOLS, tool_choice={"type": "function", "function": {"name": "fly"}})
    refused("tools are empty", tool_choice="required")
    refused("no format besides", tools=TOOLS, tool_choice="required", response_format={"type": "json_object"})
    lost = {"name": "lost", "parameters": {"type": "object", "properties": {"a": {"$ref": "#/$defs/None"}}}}
    refused("there is no", tools=[{"type": "function", "function": lost}], tool_choice="required")
