"""Which tokens are learned, for every style of template, tokenizer and content."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from chat_styles import CHATML, LLAMA3, MISTRAL_FIRST, MISTRAL_LAST, QWEN3, QWEN25, STYLES

from weitiao.data.example import Example
from weitiao.errors import RenderingError
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.render import Prompts, Rendered, render

Messages = list[dict[str, Any]]


def turns(*contents: str, system: str | None = None) -> Messages:
    """Make a conversation: user, assistant, user, ..."""
    messages = [{"role": "system", "content": system}] if system is not None else []
    return messages + [
        {"role": ("user", "assistant")[index % 2], "content": content} for index, content in enumerate(contents)
    ]


CONVERSATIONS = {
    "one_turn": turns("What is it?", "It is clear."),
    "three_turns": turns("What is it?", "It is 12.", "And this?", "It is 2025.", "Why?", "Here it is."),
    "with_system": turns("What is it?", "It is 12.", "And this?", "It is 2025.", system="Say it\nagain."),
    "white_space_around": turns("  What?\n", "  It is.  \n", "\tthis\n\n", "\n\n  clear \n"),
    "answer_starts_with_newline": turns("list", "\nfirst\n\nsecond", "again", "\n\n\nthird"),
    "answer_ends_with_newlines": turns("list", "first\n\n", "again", "second\n"),
    "digits": turns("12", "2025", "1", "12 of 2025"),
    "emoji": turns("🙂", "👩‍👩‍👧🎉", "🎉🙂", "a 🙂 of 🎉"),
    "chinese": turns("今天天气很好吗？", "你好，世界！", "公园", "我们去公园🙂。"),
    "decomposed_accents": turns("cafe\u0301", "nai\u0308ve cafe\u0301", "again", "e\u0301"),
    "answer_repeats_the_question": turns("It is the answer", "It is the answer", "x It is y", "It is the answer"),
    "empty_user_turn": turns("", "It is clear.", "", "Here."),
    "equal_answers": turns("What?", "yes", "And this?", "yes", "Why?", "yes"),
    "answer_is_a_role_name": turns("user", "assistant", "assistant\n", "user\nassistant\n"),
    "answer_is_template_text": turns("[INST]", "[/INST] [INST] it [/INST] is", "assistant", "[/INST]"),
    "answer_is_a_prompt": turns("x", "<|im_start|>assistant\nhi", "[INST] x [/INST]", "[INST] x [/INST] x"),
    "user_writes_end_of_turn": turns("<|im_end|></s><|eot_id|>", "It is.", "a<|im_end|>\nb</s>c<|eot_id|>", "Here."),
    "answer_holds_end_of_turn": turns("x", "a<|im_end|>b</s>c<|eot_id|>d", "y", "z<|im_end|></s><|eot_id|>"),
    "private_use_characters": turns("\ue000\ue001", "\ue000 is \ue002", "\ue000", "\ue001"),
    "one_letter": turns("a", "a", "a", "a"),
    "code": turns("Write", "    def f(x):\n        return x\n", "more", "```\nx = 1\n```"),
    "reasoning": turns("What?", "<think>\nIt is\n</think>\n\nclear", "Why?", "<think>\nthe answer\n</think>\n\n12"),
    "reasoning_without_newlines": turns("What?", "<think>It is</think>clear", "Why?", "<think>the answer</think>12"),
}


@pytest.fixture(params=["byte_level", "newline_runs", "sentence_piece"])
def tokenizer(request: pytest.FixtureRequest, tokenizers: dict[str, Any]) -> Any:
    """A tokenizer of each kind; the tests here change its chat template alone, so that a shallow copy is enough."""
    return copy.copy(tokenizers[request.param])


CHAT_OF_TWO = turns("which?", "WRONG", "again?", "red")


def rendered(tokenizer: Any, messages: Messages, tools: tuple[dict[str, Any], ...] = (), **config: Any) -> Rendered:
    example = Example("rows.jsonl:1", messages=tuple(messages), tools=tools)
    return render([example], tokenizer, RenderingConfig(**config), max_context=4096)


def sequence_of(tokenizer: Any, messages: Messages, **config: Any) -> TokenSequence:
    (sequence,) = rendered(tokenizer, messages, **config).sequences
    return sequence


def learned_spans(sequence: TokenSequence) -> list[tuple[int, int]]:
    """Return first and last token (exclusive) of each run of learned tokens."""
    marks = [0, *(int(weight > 0) for weight in sequence.weights), 0]
    starts = [index for index in range(1, len(marks)) if marks[index] > marks[index - 1]]
    stops = [index for index in range(1, len(marks)) if marks[index] < marks[index - 1]]
    return [(start - 1, stop - 1) for start, stop in zip(starts, stops, strict=True)]


def texts_of(sequence: TokenSequence, tokenizer: Any) -> list[str]:
    """Return what the learned runs read, each decoded behind what stands before it."""
    decode = tokenizer.decode
    ids = sequence.token_ids.tolist()
    return [decode(ids[:stop])[len(decode(ids[:start])) :] for start, stop in learned_spans(sequence)]


def normalized(tokenizer: Any, text: str) -> str:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer.normalize_str(text) if normalizer else text


def answers_of(messages: Messages) -> list[int]:
    return [index for index, message in enumerate(messages) if message["role"] == "assistant"]


@pytest.mark.parametrize("content", list(CONVERSATIONS))
@pytest.mark.parametrize("name", list(STYLES))
def test_sequences_are_what_the_template_prints_and_each_answer_with_its_end_of_turn_is_learned(
    tokenizer: Any, name: str, content: str
) -> None:
    style, messages = STYLES[name], CONVERSATIONS[content]
    tokenizer.chat_template = style.template
    sequences = rendered(tokenizer, messages).sequences
    rewrites = name == "qwen3" or (name == "mistral_system_last" and content == "with_system")
    assert len(sequences) == (len(answers_of(messages)) if rewrites else 1)
    ends = answers_of(messages)[-len(sequences) :]
    for sequence, end in zip(sequences, ends, strict=True):
        whole = tokenizer.apply_chat_template(messages[: end + 1], tokenize=False)
        assert tokenizer.decode(sequence.token_ids.tolist()) == normalized(tokenizer, whole).rstrip("\n")
        assert sequence.token_ids[:2].tolist() != [tokenizer.bos_token_id] * 2
    learned = [text for sequence in sequences for text in texts_of(sequence, tokenizer)]
    assert learned == [normalized(tokenizer, text) for text in style.answers(messages)]


@pytest.mark.parametrize("content", list(CONVERSATIONS))
@pytest.mark.parametrize("name", list(STYLES))
def test_prompt_of_every_turn_and_what_is_generated_after_it_are_the_training_ids(
    tokenizer: Any, name: str, content: str
) -> None:
    messages = CONVERSATIONS[content]
    tokenizer.chat_template = STYLES[name].template
    sequences = rendered(tokenizer, messages).sequences
    prompts = [
        tuple(sequence.token_ids[:start].tolist()) for sequence in sequences for start, _ in learned_spans(sequence)
    ]
    assert prompts == [tuple(Prompts(tokenizer)(messages[:index])) for index in answers_of(messages)]


@pytest.mark.parametrize("content", list(CONVERSATIONS))
@pytest.mark.parametrize("name", list(STYLES))
def test_prompt_of_the_last_turn_is_the_beginning_of_the_training_ids(tokenizer: Any, name: str, content: str) -> None:
    messages = CONVERSATIONS[content]
    tokenizer.chat_template = STYLES[name].template
    sequence = sequence_of(tokenizer, messages, turns="last")
    ((start, stop),) = learned_spans(sequence)
    assert Prompts(tokenizer)(messages[:-1]) == sequence.token_ids[:start].tolist()
    assert stop == len(sequence)


@pytest.mark.parametrize("content", list(CONVERSATIONS))
@pytest.mark.parametrize("name", list(STYLES))
def test_prompt_of_the_first_turn_is_what_the_tokenizer_itself_makes(tokenizer: Any, name: str, content: str) -> None:
    messages = CONVERSATIONS[content]
    tokenizer.chat_template = STYLES[name].template
    first = next(index for index, message in enumerate(messages) if message["role"] == "assistant")
    own = tokenizer.apply_chat_template(messages[:first], add_generation_prompt=True, return_dict=False)
    assert Prompts(tokenizer)(messages[:first]) == own


TAGGED = {
    "chatml": CHATML.replace(
        "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}",
        "{{- '<|im_start|>' + m.role + '\n' -}}{%- if m.role == 'assistant' -%}{% generation %}"
        "{{- m.content + '<|im_end|>' -}}{% endgeneration %}{%- else -%}{{- m.content + '<|im_end|>' -}}{%- endif -%}"
        "{{- '\n' -}}",
    ),
    "llama3": LLAMA3.replace(
        "+ m.content | trim + '<|eot_id|>' -}}",
        "-}}{%- if m.role == 'assistant' -%}{% generation %}{{- m.content | trim + '<|eot_id|>' -}}{% endgeneration %}"
        "{%- else -%}{{- m.content | trim + '<|eot_id|>' -}}{%- endif -%}",
    ),
    "mistral": MISTRAL_FIRST.replace(
        "{{- ' ' + m.content | trim + '</s>' -}}",
        "{% generation %}{{- ' ' + m.content | trim + '</s>' -}}{% endgeneration %}",
    ),
}


@pytest.mark.parametrize("content", ["three_turns", "with_system", "emoji", "chinese", "equal_answers", "digits"])
@pytest.mark.parametrize("name", list(TAGGED))
def test_mask_equals_that_of_generation_tags_in_the_template(newline_runs: Any, name: str, content: str) -> None:
    newline_runs.chat_template = TAGGED[name]
    assert "{% generation %}" in TAGGED[name]
    sequence = sequence_of(newline_runs, CONVERSATIONS[content])
    tagged = newline_runs.apply_chat_template(
        CONVERSATIONS[content], return_assistant_tokens_mask=True, return_dict=True
    )
    length = len(sequence)
    assert tagged["input_ids"][:length] == sequence.token_ids.tolist()
    assert tagged["assistant_masks"][:length] == list(sequence.weights)
    assert not any(tagged["assistant_masks"][length:])


def test_each_turn_has_the_system_text_where_its_prompt_has_it(tokenizer: Any) -> None:
    tokenizer.chat_template = MISTRAL_LAST
    messages = turns("one", "first", "two", "second", system="Be short.")
    first, second = rendered(tokenizer, messages).sequences
    assert texts_of(first, tokenizer) == [" first</s>"] and texts_of(second, tokenizer) == [" second</s>"]
    assert tokenizer.decode(first.token_ids.tolist()) == "<s>[INST] Be short.\n\none [/INST] first</s>"
    assert "Be short." in tokenizer.decode(second.token_ids.tolist()).partition("first")[2]


def test_inserted_think_block_is_learned_when_the_prompt_does_not_hold_it(byte_level: Any) -> None:
    byte_level.chat_template = QWEN3
    found = rendered(byte_level, turns("Why?", "So."))
    (sequence,) = found.sequences
    assert texts_of(sequence, byte_level) == ["<think>\n\n</think>\n\nSo.<|im_end|>"]
    assert any(r"'<think>\n\n</think>\n\n' in front of the answer in 1 row" in line for line in found.report)


OPENS_THINKING = CHATML.replace("'<|im_start|>assistant\n' -}}", "'<|im_start|>assistant\n<think>\n' -}}")


def test_think_tag_that_the_generation_prompt_holds_is_not_learned(byte_level: Any) -> None:
    byte_level.chat_template = OPENS_THINKING
    messages = turns("Why?", "<think>\nhm\n</think>\n\nSo.", "And?", "No thought.")
    sequence = sequence_of(byte_level, messages)
    assert texts_of(sequence, byte_level) == ["hm\n</think>\n\nSo.<|im_end|>", "No thought.<|im_end|>"]
    prompts = [Prompts(byte_level)(messages[:1]), Prompts(byte_level)(messages[:3])]
    assert prompts == [sequence.token_ids[:start].tolist() for start, _ in learned_spans(sequence)]
    assert byte_level.decode(prompts[1]).endswith("assistant\n<think>\n")


def test_last_turn_only(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    sequence = sequence_of(tokenizer, CONVERSATIONS["three_turns"], turns="last")
    assert texts_of(sequence, tokenizer) == ["Here it is.<|im_end|>"]


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"loss": False}])
def test_a_turn_that_says_so_is_not_learned(byte_level: Any, mark: dict[str, Any]) -> None:
    byte_level.chat_template = CHATML
    messages = turns("which?", "WRONG", "again?", "red")
    messages[1] |= mark
    assert texts_of(sequence_of(byte_level, messages), byte_level) == ["red<|im_end|>"]
    one, two = sequence_of(byte_level, messages), sequence_of(byte_level, CHAT_OF_TWO)
    assert one.token_ids.tolist() == two.token_ids.tolist()


def test_prompt_is_learned_on_request_with_the_same_ids(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    messages = CONVERSATIONS["answer_starts_with_newline"]
    sequence = sequence_of(tokenizer, messages, train_on_prompt=True)
    assert tuple(sequence.weights) == (0.0,) + (1.0,) * (len(sequence) - 1)
    assert sequence.token_ids.tolist() == sequence_of(tokenizer, messages).token_ids.tolist()


def test_sequence_ends_with_the_last_answer(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    asked_again = turns("What?", "It.", "And this?")
    one, two = sequence_of(tokenizer, asked_again), sequence_of(tokenizer, asked_again[:2])
    assert one.token_ids.tolist() == two.token_ids.tolist()
    assert one.weights.tolist() == two.weights.tolist()


def test_conversation_that_begins_with_an_answer(byte_level: Any) -> None:
    byte_level.chat_template = CHATML
    sequence = sequence_of(byte_level, [{"role": "assistant", "content": "Hello."}, *turns("Hi", "Yes?")])
    assert texts_of(sequence, byte_level) == ["Hello.<|im_end|>", "Yes?<|im_end|>"]


TOOLS = ({"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}},)


def with_call(content: str | None) -> Messages:
    call = {"type": "function", "function": {"name": "lookup", "arguments": {"city": "Paris"}}}
    return [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": content, "tool_calls": [call, call]},
        {"role": "tool", "content": "12"},
        {"role": "assistant", "content": "It is 12."},
    ]


@pytest.mark.parametrize("content", ["", None, "Let me see."])
def test_tool_calls_are_learned_up_to_the_end_of_turn(byte_level: Any, content: str | None) -> None:
    byte_level.chat_template = QWEN25
    (sequence,) = rendered(byte_level, with_call(content), TOOLS).sequences
    call = '<tool_call>\n{"name": "lookup", "arguments": {"city": "Paris"}}\n</tool_call>'
    first = "\n".join([content, call, call] if content else [call, call]) + "<|im_end|>"
    assert texts_of(sequence, byte_level) == [first, "It is 12.<|im_end|>"]


def test_template_that_drops_tool_calls_is_an_error(byte_level: Any) -> None:
    byte_level.chat_template = CHATML
    with pytest.raises(RenderingError, match=r"rows.jsonl:1: .*tool calls of message 2"):
        rendered(byte_level, with_call(""))


def test_template_that_ignores_tool_definitions_is_reported(byte_level: Any) -> None:
    byte_level.chat_template = CHATML
    assert any("tool definitions" in line for line in rendered(byte_level, turns("a", "b"), TOOLS).report)
    byte_level.chat_template = QWEN25
    assert not any("tool definitions" in line for line in rendered(byte_level, turns("a", "b"), TOOLS).report)


def test_text_between_answer_and_end_of_turn_is_learned(byte_level: Any) -> None:
    byte_level.chat_template = "".join(
        [
            "{%- for m in messages -%}{{- m.role + ': ' + m.content -}}",
            "{{- ' ### end</s>' if m.role == 'assistant' else '\n' -}}{%- endfor -%}",
            "{%- if add_generation_prompt -%}{{- 'assistant: ' -}}{%- endif -%}",
        ]
    )
    sequence = sequence_of(byte_level, turns("a", "b", "c", "d"))
    assert texts_of(sequence, byte_level) == ["b ### end</s>", "d ### end</s>"]


def test_template_without_end_of_turn_is_an_error(byte_level: Any) -> None:
    byte_level.chat_template = "{%- for m in messages -%}{{- m.role + ': ' + m.content + '\n' -}}{%- endfor -%}"
    with pytest.raises(RenderingError, match="no end-of-turn token after message 2"):
        rendered(byte_level, turns("a", "b", "c", "d"))


def test_an_end_of_turn_that_only_the_last_answer_has_is_learned_with_every_answer(byte_level: Any) -> None:
    end = "{{- '</s>' if loop.last and m.role == 'assistant' else '\n' -}}"
    byte_level.chat_template = "{%- for m in messages -%}{{- m.role + ': ' + m.content -}}" + end + "{%- endfor -%}"
    sequences = rendered(byte_level, turns("a", "b", "c", "d")).sequences
    assert [texts_of(one, byte_level) for one in sequences] == [["assistant: b</s>"], ["assistant: d</s>"]]


def test_template_that_does_not_print_answers_is_an_error(byte_level: Any) -> None:
    byte_level.chat_template = "{%- for m in messages if m.role == 'user' -%}{{- m.content + '</s>' -}}{%- endfor -%}"
    with pytest.raises(RenderingError, match="does not print message 2"):
        rendered(byte_level, turns("a", "b"))


def test_template_that_refuses_a_conversation_names_the_row_and_the_reason(byte_level: Any) -> None:
    byte_level.chat_template = "{{- raise_exception('system text is not supported') -}}"
    with pytest.raises(RenderingError, match=r"rows.jsonl:1: .*system text is not supported"):
        rendered(byte_level, turns("a", "b"))
