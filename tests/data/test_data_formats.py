"""Formats: rows in every spelling become the same messages, and a row that cannot is refused with field and reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weitiao.data.config import SourceConfig
from weitiao.data.example import Example, is_learned
from weitiao.data.formats.detection import detect
from weitiao.data.formats.formats import Converter
from weitiao.data.reading.rows import BadRow, Row
from weitiao.errors import DataError

CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def convert(row: Any, **settings: Any) -> Example:
    source = SourceConfig(path="x.jsonl", **settings)
    rows = [Row(1, 1, row)]
    format = detect(source, rows, "x.jsonl").format if source.format == "auto" else source.format
    return Converter(source, format)(rows[0], "x.jsonl:1")


def turns(example: Example) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in example.messages]


def test_alpaca_rows_become_history_question_and_answer() -> None:
    example = convert(
        {
            "instruction": "Translate.",
            "input": "chat",
            "output": "cat",
            "system": "Be brief.",
            "history": [["q1", "a1"], ["q2", "a2"]],
            "topic": "fr",
        }
    )
    assert turns(example) == [
        ("system", "Be brief."),
        ("user", "q1"),
        ("assistant", "a1"),
        ("user", "q2"),
        ("assistant", "a2"),
        ("user", "Translate.\nchat"),
        ("assistant", "cat"),
    ]
    assert example.messages[5]["instruction"] == "Translate." and example.messages[5]["input"] == "chat"
    assert example.columns == {"topic": "fr"}
    plain = convert({"instruction": "Hi", "input": "", "output": "Hello", "system": "", "history": "[]"})
    assert turns(plain) == [("user", "Hi"), ("assistant", "Hello")]
    assert turns(convert({"instruction": "Hi", "input": None, "output": "Hello"})) == turns(plain)


def test_openai_and_sharegpt_spellings_of_a_tool_conversation_become_the_same_messages() -> None:
    openai = {
        "messages": [
            {"role": "system", "content": "Use tools."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}],
            },
            {"role": "tool", "content": '{"temperature": 3}', "name": None},
            {"role": "assistant", "content": "3 degrees."},
        ],
        "tools": [TOOL],
    }
    sharegpt = {
        "conversations": [
            {"from": "human", "value": "Weather in Oslo?"},
            {"from": "function_call", "value": json.dumps(CALL["function"])},
            {"from": "observation", "value": '{"temperature": 3}'},
            {"from": "gpt", "value": "3 degrees."},
        ],
        "system": "Use tools.",
        "tools": json.dumps([TOOL["function"]]),
    }
    one, two = convert(openai), convert(sharegpt)
    assert one.messages == two.messages
    assert one.tools == two.tools == (TOOL,)
    assert one.messages[2] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert one.prompt == one.messages[:4] and one.answer == "3 degrees."


def test_null_fields_that_arrow_adds_to_turns_are_dropped_and_others_kept() -> None:
    turn = {"role": "user", "content": "a", "name": "Kim", "tool_calls": None, "from": None}
    example = convert({"messages": [turn, {"role": "assistant", "content": "b", "value": None}]})
    assert example.messages == (
        {"role": "user", "content": "a", "name": "Kim"},
        {"role": "assistant", "content": "b"},
    )


def test_text_parts_of_both_of_openais_interfaces_are_text() -> None:
    question = {"role": "user", "content": [{"type": "input_text", "text": "a "}, {"type": "text", "text": "b"}]}
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "red"}]}
    assert turns(convert({"messages": [question, answer]})) == [("user", "a b"), ("assistant", "red")]


@pytest.mark.parametrize("key", ["weight", "train", "loss"])
def test_turns_say_whether_they_are_learned(key: str) -> None:
    def learned(mark: Any) -> bool:
        answer = {"role": "assistant", "content": "red", key: mark}
        return is_learned(convert({"messages": [{"role": "user", "content": "which?"}, answer]}).messages[1])

    assert [learned(mark) for mark in (0, False, 0.0, 1, True, 1.0, None)] == [False] * 3 + [True] * 4
    for mark in ("no", 0.5, [0]):
        with pytest.raises(BadRow) as caught:
            learned(mark)
        assert caught.value.field == f"messages[1].{key}"


def test_prompt_and_completion_are_text_or_turns() -> None:
    asked = {"role": "user", "content": "a"}
    answered = {"role": "assistant", "content": "b"}
    for prompt in ("a", [asked]):
        for completion in ("b", [answered]):
            assert convert({"prompt": prompt, "completion": completion}).messages == (asked, answered)


def test_columns_rename_and_reach_into_nested_values() -> None:
    row = {"question": "1+1?", "answer": "2", "id": 7}
    example = convert(row, columns={"prompt": "question", "completion": "answer"})
    assert turns(example) == [("user", "1+1?"), ("assistant", "2")]
    assert example.columns == {"id": 7}
    nested = {"instruction": "Write", "instances": [{"input": "a poem", "output": "Roses"}]}
    example = convert(nested, columns={"input": "instances.0.input", "output": "instances.0.output"})
    assert turns(example) == [("user", "Write\na poem"), ("assistant", "Roses")]
    # A column that has the dot in its name comes before the nested value.
    assert convert({"a.b": "x", "a": {"b": "y"}}, columns={"text": "a.b"}).text == "x"


def test_templates_make_the_turns_and_the_columns_stay_for_grouping() -> None:
    row = {"text": "Where is my card?", "category": "card_arrival", "Customer Tier": "gold"}
    example = convert(
        row,
        system="Labels: a, b. ({{ row['Customer Tier'] }})\n",
        prompt="Classify: {{ text }}",
        completion="{{ category }}",
    )
    assert turns(example) == [
        ("system", "Labels: a, b. (gold)"),
        ("user", "Classify: Where is my card?"),
        ("assistant", "card_arrival"),
    ]
    assert example.columns == row


def test_a_system_template_is_for_rows_that_bring_no_system_turn() -> None:
    pair = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    own = [{"role": "system", "content": "own"}, *pair]
    assert turns(convert({"messages": pair}, system="default"))[0] == ("system", "default")
    assert turns(convert({"messages": own}, system="default")) == turns(convert({"messages": own}))


@pytest.mark.parametrize(
    ("row", "settings", "format"),
    [
        ({"instruction": "a", "input": "", "output": "b", "text": "a b"}, {}, "alpaca"),
        ({"prompt": "a", "prompt_id": 1, "messages": []}, {}, "messages"),
        ({"conversations": [], "id": 1}, {}, "sharegpt"),
        ({"prompt": "a", "completion": "b", "system": "SAP"}, {}, "prompt_completion"),
        ({"text": "a"}, {}, "text"),
        ({"text": "a", "messages": [], "label": "b"}, {"columns": {"prompt": "text", "completion": "label"}},
         "prompt_completion"),
        ({"body": "a", "url": "b"}, {"columns": {"text": "body"}}, "text"),
        ({"instruction": "a", "output": "b"}, {"prompt": "{{ instruction }}!", "completion": "{{ output }}"},
         "prompt_completion"),
    ],
)  # fmt: skip
def test_the_format_is_detected(row: dict[str, Any], settings: dict[str, Any], format: str) -> None:
    assert detect(SourceConfig(path="x", **settings), [Row(1, 1, [0]), Row(2, 2, row)], "x").format == format


def test_a_table_of_text_and_label_is_not_taken_for_raw_text() -> None:
    with pytest.raises(DataError, match="no format fits the columns text, category") as caught:
        convert({"text": "a", "category": "b"})
    assert "columns: {prompt: text, completion: category}" in caught.value.remedy
    assert "format: text" in caught.value.remedy
    assert convert({"text": "a", "category": "b"}, format="text").columns == {"category": "b"}


def test_a_system_column_next_to_prompt_and_completion_is_used_only_when_named() -> None:
    row = {"prompt": "a", "completion": "b", "system": "SAP"}
    assert turns(convert(row))[0] == ("user", "a")
    assert turns(convert(row, columns={"system": "system"}))[0] == ("system", "SAP")


def messages(*pairs: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


@pytest.mark.parametrize(
    ("row", "settings", "field", "reason"),
    [
        ([1], {"format": "alpaca"}, "", "the row is a list, not an object"),
        ("text", {"format": "text"}, "", "the row is text, not an object"),
        ({"instruction": "a", "output": ""}, {}, "output", "answer is empty"),
        ({"instruction": "a", "output": " \u00a0\n"}, {}, "output", "answer is empty"),
        ({"instruction": "a", "output": None}, {}, "output", "is null"),
        ({"instruction": "a", "output": 3}, {}, "output", "must be text, is a number"),
        ({"instruction": " ", "input": "", "output": "b"}, {}, "instruction", "is empty"),
        ({"instruction": "a", "output": "b", "history": [["q"]]}, {}, "history[0]", "pair"),
        ({"instruction": "a", "output": "b", "history": [["q", ""]]}, {}, "history[0][1].content", "answer is empty"),
        ({"instruction": "a", "output": "b", "history": "[["}, {}, "history", "not valid JSON"),
        ({"instruction": "a", "output": "b", "history": {"a": 1}}, {}, "history", "must be a list of turns"),
        ({"prompt": "a"}, {"format": "prompt_completion"}, "completion", "`completion` is missing"),
        ({"q": "a"}, {"columns": {"prompt": "q", "completion": "a"}}, "completion", "`a` is missing"),
        ({"instruction": "a", "input": 0, "output": "b"}, {}, "input", "must be text, is a number"),
        ({"conversations": [{"role": "system", "content": "x"}, {"role": "gpt", "content": "y"}], "system": "z"}, {},
         "system", "differs from the system turn"),
        ({"prompt": "", "completion": "b"}, {}, "prompt", "is empty"),
        ({"prompt": "a", "completion": [{"role": "user", "content": "b"}]}, {}, "completion", "end with an assistant"),
        ({"text": "\n"}, {}, "text", "is empty"),
        ({"text": 1}, {}, "text", "must be text"),
        (messages(), {}, "messages", "conversation is empty"),
        ({"messages": "hi"}, {}, "messages", "is not valid JSON"),
        ({"messages": {"role": "user"}}, {}, "messages", "must be a list of turns, is an object"),
        ({"messages": ["hi"]}, {}, "messages[0]", "a turn must be an object"),
        (messages(("user", "a")), {}, "messages", "no assistant turn"),
        (messages(("user", "a"), ("narrator", "b")), {}, "messages[1].role", "'narrator' is not known"),
        (messages(("user", "a"), ("assistant", "")), {}, "messages[1].content", "answer is empty"),
        (messages(("user", ""), ("assistant", "b")), {"system": "s"}, "messages[0].content", "user turn is empty"),
        (messages(("user", "a"), ("assistant", None)), {}, "messages[1].content", "is null"),
        (messages(("user", 5), ("assistant", "b")), {}, "messages[0].content", "must be text, is a number"),
        (messages(("user", [{"type": "image"}]), ("assistant", "b")), {}, "messages[0].content[0]", "text"),
        ({"messages": [{"role": "user"}]}, {}, "messages[0].content", "is missing"),
        ({"messages": [{"content": "a"}]}, {}, "messages[0].role", "is missing"),
        ({"conversations": [{"from": "function_call", "value": "{"}]}, {}, "conversations[0].value", "valid JSON"),
        ({**messages(("user", "a"), ("assistant", "b")), "tools": "[{}]"}, {}, "tools[0]", "no name"),
        ({"text": "half \ud83d pair"}, {}, "text", "surrogate"),
        ({"text": "a"}, {"prompt": "{{ txt }}", "completion": "b"}, "prompt", "'txt' is undefined"),
        ({"text": None}, {"prompt": "{{ text }}", "completion": "b"}, "prompt", "null"),
        ({"text": "a"}, {"prompt": "{{ text + 1 }}", "completion": "b"}, "prompt", "template fails"),
        ({"text": "a"}, {"prompt": "{{ text.__class__.mro() }}", "completion": "b"}, "prompt", "unsafe"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_names_field_and_reason(
    row: Any, settings: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(BadRow) as caught:
        convert(row, **settings)
    assert caught.value.field == field
    assert reason in caught.value.reason


def test_columns_that_the_format_does_not_have_are_refused() -> None:
    with pytest.raises(DataError, match="`columns` names history, which the format messages does not have"):
        convert({"messages": []}, format="messages", columns={"history": "h"})
