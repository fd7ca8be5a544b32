"""The templates that a recipe can ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chat_styles import QWEN25
from pydantic import ValidationError
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from weitiao.data.example import Example
from weitiao.errors import RenderingError
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.render import Prompts, render
from weitiao.rendering.templates import BUILT_IN, apply_template

INTRODUCTION = "Below is an instruction that describes a task"
REQUEST = "Write a response that appropriately completes the request.\n\n"


def printed(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def test_auto_keeps_the_template_of_the_tokenizer(byte_level: Any) -> None:
    byte_level.chat_template = QWEN25
    apply_template(byte_level, RenderingConfig())
    assert byte_level.chat_template == QWEN25


def test_alpaca_without_and_with_input(byte_level: Any) -> None:
    apply_template(byte_level, RenderingConfig(template="alpaca"))
    plain = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "Done."}]
    assert printed(byte_level, plain) == (
        f"{INTRODUCTION}. {REQUEST}### Instruction:\nAdd.\n\n### Response:\nDone.</s>"
    )
    split = [{"role": "user", "content": "Add.\n1 2", "instruction": "Add.", "input": "1 2"}]
    assert printed(byte_level, split, add_generation_prompt=True) == (
        f"{INTRODUCTION}, paired with an input that provides further context. {REQUEST}"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n"
    )


def test_alpaca_with_system_text_and_turns(byte_level: Any) -> None:
    apply_template(byte_level, RenderingConfig(template="alpaca"))
    roles = ["system", "user", "assistant", "user", "assistant"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, "sabcd", strict=True)]
    assert printed(byte_level, messages) == (
        "s\n\n### Instruction:\na\n\n### Response:\nb</s>\n\n### Instruction:\nc\n\n### Response:\nd</s>"
    )
    (sequence,) = render([Example("r:1", tuple(messages))], byte_level, RenderingConfig(), max_context=500).sequences
    learned = [token for token, weight in zip(sequence.token_ids, sequence.weights, strict=True) if weight]
    assert byte_level.decode(learned) == "b</s>d</s>"


def test_chatml_adds_no_system_text(byte_level: Any) -> None:
    apply_template(byte_level, RenderingConfig(template="chatml"))
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert printed(byte_level, messages) == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
    system = {"role": "system", "content": "s"}
    assert printed(byte_level, [system, *messages]).startswith("<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n")


@pytest.mark.parametrize("arguments", [{"city": "Paris"}, '{"city": "Paris"}'])
def test_chatml_prints_tools_calls_and_answers(byte_level: Any, arguments: Any) -> None:
    apply_template(byte_level, RenderingConfig(template="chatml"))
    tools = ({"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}},)
    call = {"type": "function", "function": {"name": "lookup", "arguments": arguments}}
    messages = (
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "content": "12"},
        {"role": "assistant", "content": "Here."},
    )
    rendered = render([Example("r:1", messages, tools=tools)], byte_level, RenderingConfig(), max_context=1000)
    (sequence,) = rendered.sequences
    assert len(rendered.report) == 1
    learned = [token for token, weight in zip(sequence.token_ids, sequence.weights, strict=True) if weight]
    printed_call = '<tool_call>\n{"name": "lookup", "arguments": {"city": "Paris"}}\n</tool_call>'
    assert byte_level.decode(learned) == f"{printed_call}\n{printed_call}<|im_end|>Here.<|im_end|>"
    text = byte_level.decode(sequence.token_ids.tolist())
    assert '{"type": "function", "function": {"name": "lookup"' in text
    assert "<|im_start|>tool\n<tool_response>\n12\n</tool_response><|im_end|>" in text


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_template_starts_with_bos_where_the_tokenizer_does(byte_level: Any, name: str) -> None:
    bos = (byte_level.bos_token, byte_level.bos_token_id)
    messages = [{"role": "user", "content": "a"}]
    apply_template(byte_level, RenderingConfig(template=name))
    assert byte_level.bos_token_id not in Prompts(byte_level)(messages)
    byte_level.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    apply_template(byte_level, RenderingConfig(template=name))
    prompt = Prompts(byte_level)(messages)
    assert prompt[0] == bos[1]
    assert prompt.count(bos[1]) == 1


def test_template_is_saved_with_the_tokenizer(byte_level: Any, tmp_path: Path) -> None:
    apply_template(byte_level, RenderingConfig(template="alpaca"))
    messages = [{"role": "user", "content": "a"}]
    byte_level.save_pretrained(tmp_path)
    assert Prompts(AutoTokenizer.from_pretrained(tmp_path))(messages) == Prompts(byte_level)(messages)


def test_template_from_a_file(byte_level: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{%- for m in messages -%}{{- m.content + '</s>' -}}{%- endfor -%}\n", encoding="utf-8")
    apply_template(byte_level, RenderingConfig(template=str(path)))
    assert printed(byte_level, [{"role": "user", "content": "a"}]) == "a</s>"


def test_unknown_template_is_an_error_that_names_the_choices(byte_level: Any) -> None:
    with pytest.raises(RenderingError, match="'alpacca' is neither") as caught:
        apply_template(byte_level, RenderingConfig(template="alpacca"))
    assert "alpaca, chatml" in caught.value.remedy


def test_template_file_that_is_no_text_is_an_error(byte_level: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RenderingError, match="not UTF-8"):
        apply_template(byte_level, RenderingConfig(template=str(path)))


def test_template_file_with_a_syntax_error_names_file_and_line(byte_level: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("line one\n{% for m in messages %}", encoding="utf-8")
    with pytest.raises(RenderingError, match=r"mine.jinja:2: Unexpected end of template"):
        apply_template(byte_level, RenderingConfig(template=str(path)))


def test_template_file_may_mark_the_answers_as_transformers_does(byte_level: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}[{{ m.content }}]{% endif %}{% endfor %}",
        encoding="utf-8",
    )
    apply_template(byte_level, RenderingConfig(template=str(path)))
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert byte_level.apply_chat_template(turns, tokenize=False) == "[q]a"


def test_a_tokenizers_own_template_with_a_syntax_error_is_named(byte_level: Any) -> None:
    byte_level.chat_template = "{% for m in messages %}"
    example = Example("r:1", ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))
    with pytest.raises(RenderingError, match="Unexpected end of template"):
        render([example], byte_level, RenderingConfig(), max_context=100)


def test_built_in_template_needs_its_tokens(byte_level: Any) -> None:
    byte_level.eos_token = None
    with pytest.raises(RenderingError, match="EOS"):
        apply_template(byte_level, RenderingConfig(template="alpaca"))
    from transformers import ByT5Tokenizer

    with pytest.raises(RenderingError, match=r"<\|im_start\|>"):
        apply_template(ByT5Tokenizer(), RenderingConfig(template="chatml"))


@pytest.mark.parametrize("bad", [{"turns": "first"}, {"on_long": "cut"}, {"max_length": 1}, {"length": 3}])
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RenderingConfig(**bad)
