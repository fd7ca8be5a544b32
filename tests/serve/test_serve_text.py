"""Answers token by token, against the text that evaluation reads, what training learns, and Python's own strings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rendering.chat_styles import QWEN3, QWEN25
from transformers import AutoTokenizer

from weitiao.data.example import Example
from weitiao.rendering.answers import AnswerReader
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.render import render
from weitiao.serve.engine import Token
from weitiao.serve.text import Answer, ModelText, Piece, Prompt

USER = {"role": "user", "content": "What colour?"}
LOOKUP = {
    "type": "function",
    "function": {"name": "lookup", "description": "Finds.", "parameters": {"type": "object", "properties": {}}},
}
# The prompt ends in an open think block, as DeepSeek-R1's.
OPEN = QWEN3.replace(
    "{{- '<|im_start|>assistant\n' -}}{%- endif -%}\n", "{{- '<|im_start|>assistant\n<think>\n' -}}{%- endif -%}\n"
)
_CALLS = QWEN25[QWEN25.index("{%- for call in") :].partition("{%- endfor -%}")
CALLING = OPEN.replace("' + body -}}\n{%- endif -%}\n", f"' + body -}}}}\n{{%- endif -%}}\n{_CALLS[0]}{_CALLS[1]}\n")
# Calls as one list behind a special token, as Mistral's, and as bare JSON with `parameters`, as Llama 3.1's.
LISTED = QWEN25.replace(
    """{%- for call in m.tool_calls or [] -%}
{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson + '}\n</tool_call>' -}}
{%- endfor -%}""",
    """{%- if m.tool_calls -%}{{- '\n[TOOL_CALLS] [' -}}{%- for call in m.tool_calls -%}
{{- {'name': call.function.name, 'arguments': call.function.arguments} | tojson -}}
{%- if not loop.last -%}{{- ', ' -}}{%- endif -%}{%- endfor -%}{{- ']' -}}{%- endif -%}""",
)
BARE = QWEN25.replace(
    """{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson + '}\n</tool_call>' -}}""",
    """{{- '\n{"name": "' + call.function.name + '", "parameters": ' + call.function.arguments | tojson + '}' -}}""",
)


@pytest.fixture(scope="module")
def tokenizer(tiny_llama_dir: Path) -> Any:
    found = AutoTokenizer.from_pretrained(str(tiny_llama_dir))
    found.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]", "<|im_start|>", "<|im_end|>"]})
    return found


def model_text(tokenizer: Any, template: str | None = None) -> ModelText:
    if template is not None:
        tokenizer.chat_template = template
    return ModelText(tokenizer, frozenset([tokenizer.eos_token_id]))


def written(
    text: ModelText, ids: list[int], *, stop: tuple[str, ...] = (), tools: Any = (), ended: bool = True
) -> list[Piece]:
    """The pieces of an answer of these tokens, behind which the model ends it, or is broken off."""
    answer = Answer(text, text.chat([USER], tools), stop)
    end = Token(text.tokenizer.eos_token_id, -1.0) if ended else Token(ids[-1], -1.0, finish="length")
    found = []
    for token in [*(Token(one, -1.0) for one in (ids if ended else ids[:-1])), end]:
        found.append(answer.push(token))
        if answer.finish is not None:
            break
    return [piece for piece in found if piece is not None]


def content(pieces: list[Piece]) -> str:
    return "".join(piece.content for piece in pieces)


@given(
    st.text(st.sampled_from("ab \n<>/think😀你é{}"), max_size=30),
    st.lists(st.text(st.sampled_from("ab <你"), min_size=1, max_size=3), max_size=2),
)
@example(said="<你<", stop=["你", "<你<"])
def test_a_text_ends_before_the_first_stop_string_wherever_its_tokens_end(
    tokenizer: Any, said: str, stop: list[str]
) -> None:
    text = model_text(tokenizer)
    pieces = written(text, tokenizer(said, add_special_tokens=False)["input_ids"], stop=tuple(stop))
    places = [place for one in stop if (place := said.find(one)) >= 0]
    assert content(pieces) == said[: min(places, default=len(said))]
    assert pieces[-1].finish == "stop"
    assert all("\ufffd" not in piece.content for piece in pieces)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        *((QWEN3, f"<think>\nit is dusk\n</think>\n\n{said}") for said in ("red", "red and  <b> ")),
        *((OPEN, f"it is dusk\n</think>\n\n{said}") for said in ("red", "red and  <b> ")),
        *((QWEN3, said) for said in ("<think>\n\n</think>\n\nred", "red ", "<thin", " a < b")),
        (OPEN, "\n</think>\n\nred"),
        (QWEN25, "<think>a</think>red "),
    ],
)
def test_the_content_is_the_answer_that_evaluation_reads(tokenizer: Any, template: str, said: str) -> None:
    text = model_text(tokenizer, template)
    ids = tokenizer(said, add_special_tokens=False)["input_ids"]
    pieces = written(text, ids)
    assert content(pieces) == AnswerReader(tokenizer).read([USER], (), ids)
    assert "".join(piece.reasoning for piece in pieces).strip() == ("it is dusk" if "dusk" in said else "")


@pytest.mark.parametrize(
    ("template", "said"),
    [(QWEN25, ""), (QWEN25, "Let me see."), (LISTED, ""), (LISTED, "Let me see."), (BARE, "")],
    ids=["tags", "tags after text", "a list", "a list after text", "bare JSON"],
)
def test_calls_that_training_learns_are_read_back(tokenizer: Any, template: str, said: str) -> None:
    text = model_text(tokenizer, template)
    num = 1 if template == BARE else 2
    arguments = [{"city": "Paris 😀", "deep": {"a": [1, "}"]}}, {}][:num]
    calls = [{"type": "function", "function": {"name": "lookup", "arguments": one}} for one in arguments]
    row = Example("row", (USER, {"role": "assistant", "content": said, "tool_calls": calls}), tools=(LOOKUP,))
    (sequence,) = render([row], tokenizer, RenderingConfig(), max_context=512).sequences
    learned = [int(one) for one, weight in zip(sequence.token_ids, sequence.weights, strict=True) if weight > 0]
    pieces = written(text, learned, tools=[LOOKUP])
    found = [call for piece in pieces for call in piece.calls]
    assert [(call.name, json.loads(call.arguments)) for call in found] == [("lookup", one) for one in arguments]
    assert content(pieces) == said
    assert pieces[-1].finish == "tool_calls"


@pytest.mark.parametrize(
    "said",
    [
        '<tool_call>\n{"name": "lookup", "arguments": \n</tool_call>',
        '<tool_call>\n{"name": "another", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "lookup", "arguments": {}',
        "<tool_",
    ],
)
def test_what_is_no_call_stays_text(tokenizer: Any, said: str) -> None:
    text = model_text(tokenizer, QWEN25)
    pieces = written(text, tokenizer(said, add_special_tokens=False)["input_ids"], tools=[LOOKUP], ended=False)
    assert content(pieces) == said
    assert not any(piece.calls for piece in pieces)
    assert pieces[-1].finish == "length"


def test_every_token_is_told_with_the_text_that_it_made(tokenizer: Any) -> None:
    text = model_text(tokenizer)
    ids = tokenizer("a 😀 stop here", add_special_tokens=False)["input_ids"]
    pieces = written(text, ids, stop=("stop",))
    told = b"".join(text.bytes[token.id] for piece in pieces for token in piece.tokens)
    assert told.decode().startswith("a 😀 ")
    assert "here" not in told.decode()


@pytest.mark.parametrize("template", [QWEN25, LISTED, BARE, CALLING], ids=["tags", "a list", "bare JSON", "thinking"])
def test_a_call_that_has_to_be_made_begins_where_training_writes_it(tokenizer: Any, template: str) -> None:
    text = model_text(tokenizer, template)
    calls = [{"type": "function", "function": {"name": "lookup", "arguments": {"city": "Paris 😀"}}}]
    row = Example("row", (USER, {"role": "assistant", "content": "", "tool_calls": calls}), tools=(LOOKUP,))
    (sequence,) = render([row], tokenizer, RenderingConfig(), max_context=512).sequences
    prompt = text.chat([USER], [LOOKUP], "lookup")
    begun, whole = tokenizer.decode(prompt.ids), tokenizer.decode(sequence.token_ids.tolist())
    assert whole.startswith(begun) and whole[len(begun)] in "[{"
    value, _ = json.JSONDecoder().raw_decode(whole, len(begun))
    jsonschema.validate(value, prompt.schema)
    assert _called(text, prompt, json.dumps(value)) == {"city": "Paris 😀"}


def _called(text: ModelText, prompt: Prompt, said: str) -> Any:
    """The arguments of the one call that an answer is, and nothing besides."""
    answer = Answer(text, prompt)
    *first, last = text.tokenizer(said, add_special_tokens=False)["input_ids"]
    pushed = [answer.push(one) for one in [*(Token(one, -1.0) for one in first), Token(last, -1.0, finish="stop")]]
    pieces = [piece for piece in pushed if piece is not None]
    assert answer.finish == "tool_calls" and not any(piece.content or piece.reasoning for piece in pieces)
    (call,) = [call for piece in pieces for call in piece.calls]
    return json.loads(call.arguments)
