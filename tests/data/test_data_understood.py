"""Columns, roles and turns under the names that data have: understood where there is one way, else proposed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weitiao.data.config import DataConfig
from weitiao.data.conversion.records import Input, Opened
from weitiao.data.load import DataSet, load_data
from weitiao.errors import DataError

TURNS = [{"role": "user", "content": "which colour?"}, {"role": "assistant", "content": "red"}]


def load(folder: Path, *rows: Any, **source: Any) -> DataSet:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_data(DataConfig.model_validate({"train": {"path": str(path), **source}}))


def said(data: DataSet) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in data.train[0].messages]


NAMES = [
    ("human", "gpt"), ("user", "chatgpt"), ("human", "bing"), ("human", "bard"), ("Human", "Assistant"),
    ("human", "model"), ("User", "Bot"), ("input", "output"), ("USER", "ASSISTANT"), ("human", "ai"),
    ("用户", "助手"), ("问", "答"),
]  # fmt: skip


@pytest.mark.parametrize(("asks", "answers"), NAMES)
def test_roles_are_known_by_the_names_in_use(tmp_path: Path, asks: str, answers: str) -> None:
    turns = [{"from": asks, "value": "which colour?"}, {"from": answers, "value": "red"}]
    assert said(load(tmp_path, {"conversations": turns})) == [("user", "which colour?"), ("assistant", "red")]


def test_a_setting_says_who_speaks_under_another_name(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "Customer", "value": "which?"}, {"from": "agent", "value": "red"}]}
    with pytest.raises(DataError, match=r"'Customer' is not known; say who it is, .*`roles: \{Customer: user\}`"):
        load(tmp_path, row)
    data = load(tmp_path, row, roles={"customer": "user", "Agent": "assistant"})
    assert said(data) == [("user", "which?"), ("assistant", "red")]
    # A test file given as a mere path is read alike.
    both = DataConfig.model_validate(
        {"train": {"path": "a", "roles": {"agent": "assistant"}}, "test": str(tmp_path / "rows.jsonl")}
    )
    assert both.sources["test"][0].roles == {"agent": "assistant"}


ASKED = [("user", "which colour?"), ("assistant", "red")]
UNDERSTOOD: dict[str, tuple[dict[str, Any], list[tuple[str, str]], str]] = {
    "conversation": ({"conversation": TURNS}, ASKED, "`columns: {messages: conversation}`"),
    "dialogue": ({"dialogue": TURNS, "id": 1}, ASKED, "`columns: {messages: dialogue}`"),
    "speakers": (
        {"conversation": [{"human": "which colour?", "assistant": "red"}, {"human": "and now?", "assistant": "blue"}]},
        [*ASKED, ("user", "and now?"), ("assistant", "blue")],
        "`columns: {messages: conversation}`",
    ),
    "xtuner": (
        {"conversation": [{"input": "which colour?", "system": "be brief", "output": "red"}]},
        [("system", "be brief"), *ASKED],
        "`columns: {messages: conversation}`",
    ),
    "pairs": ({"chat": [["which colour?", "red"]]}, ASKED, "`columns: {messages: chat}`"),
    "gemini": (
        {"contents": [{"role": "user", "parts": [{"text": "which "}, {"text": "colour?"}]},
                      {"role": "model", "parts": [{"text": "red"}]}]},
        ASKED,
        "`columns: {messages: contents}`",
    ),
    "query": (
        {"query": "which colour?", "response": "red"}, ASKED, "`columns: {prompt: query, completion: response}`",
    ),
    "Chinese": ({"问题": "which colour?", "答案": "red"}, ASKED, "`columns: {prompt: 问题, completion: 答案}`"),
    "swift": (
        {"query": "which colour?", "response": "red", "system": "be brief", "history": [["hi", "hello"]]},
        [("system", "be brief"), ("user", "hi"), ("assistant", "hello"), *ASKED],
        "`columns: {instruction: query, output: response}`",
    ),
    "history": (
        {"instruction": "which colour?", "output": "red", "history": TURNS}, [*ASKED, *ASKED], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_columns_are_understood_by_what_they_hold(tmp_path: Path, name: str) -> None:
    row, expected, columns = UNDERSTOOD[name]
    data = load(tmp_path, row, row)
    assert said(data) == expected
    assert columns in str(data.summaries[0])
    opened = Opened(Input(str(tmp_path / "rows.jsonl")))
    (placed, _) = opened.rows()
    assert opened.reader(opened.format())(placed).messages == data.train[0].messages  # type: ignore[union-attr]


DOUBTFUL: list[tuple[dict[str, Any], str]] = [
    ({"first": TURNS, "second": TURNS}, "`columns: {messages: first}`"),
    ({"question": "which?", "choices": ["red", "blue"], "answer": "red"}, "{prompt: question, completion: answer}"),
    ({"instruction": "which?", "context": "a red box", "response": "red"}, "{input: context, output: response}"),
    (
        {"id": "a1", "name": "colours", "instruction": "which?", "instances": [{"input": "box", "output": "red"}]},
        "`columns: {input: instances.0.input, output: instances.0.output}`",
    ),
    ({"指令": "which?", "输入": "box", "输出": "red"}, "`columns: {instruction: 指令, input: 输入, output: 输出}`"),
    ({"句子": "which?", "编号": "7", "标签": "red"}, "`columns: {prompt: 句子, completion: 标签}`"),
    ({"text": "which?", "label": 1}, '`{prompt: "{{ text }}", completion: "{{ label }}"}`'),
    ({"title": "a", "the text": "b", "kind": 1}, "`columns: {prompt: title, completion: the text}`"),
]


@pytest.mark.parametrize(("row", "remedy"), DOUBTFUL)
def test_what_is_proposed_works(tmp_path: Path, row: dict[str, Any], remedy: str) -> None:
    from ruamel.yaml import YAML

    with pytest.raises(DataError, match="no format fits the columns") as caught:
        load(tmp_path, row, row)
    assert remedy in caught.value.remedy
    proposed = YAML(typ="safe").load(caught.value.remedy.split("`")[1])
    assert len(load(tmp_path, row, row, **proposed).train) == 2


ANSWERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"instruction": "count", "input": "to 3", "output": 3}, {}, "3"),
    ({"text": "note", "label": 1}, {"columns": {"prompt": "text", "completion": "label"}}, "1"),
    ({"text": "note", "label": True}, {"columns": {"prompt": "text", "completion": "label"}}, "True"),
    ({"text": "note", "the label": 1e22}, {"columns": {"prompt": "text", "completion": "the label"}}, "1e+22"),
    ({"instruction": "name two", "input": "", "output": ["a", "b"]}, {}, "a, b"),
    ({"prompt": 3, "completion": "three"}, {}, "three"),
]


@pytest.mark.parametrize(("row", "source", "answer"), ANSWERS)
def test_an_answer_that_is_no_text_comes_with_the_template_that_makes_it_text(
    tmp_path: Path, row: dict[str, Any], source: dict[str, Any], answer: str
) -> None:
    from ruamel.yaml import YAML

    with pytest.raises(
        DataError, match=r"must be text, is (a number|true/false|a list); what makes text of it"
    ) as caught:
        load(tmp_path, row, **source)
    made = dict[str, str]()
    for setting in caught.value.what.split("`")[3::2]:
        made |= YAML(typ="safe").load(setting)
    columns = {name: column for name, column in source.get("columns", {}).items() if name not in made}
    data = load(tmp_path, row, columns=columns, **made)
    assert data.train[0].answer == answer
    assert str(row.get("input", "")) in data.train[0].messages[0]["content"]


def test_compared_answers_are_no_prompt_and_completion(tmp_path: Path) -> None:
    row = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    with pytest.raises(DataError) as caught:
        load(tmp_path, row)
    assert "rows.jsonl better.jsonl --to messages" in caught.value.remedy
    assert "prompt: chosen" not in caught.value.remedy


def test_what_is_not_used_is_counted_and_said(tmp_path: Path) -> None:
    rows = [{"messages": TURNS, "id": i, "url": "x"} for i in range(3)]
    rows[1]["messages"] = [*TURNS, {"role": "user", "content": "and now?"}]
    lines = str(load(tmp_path, *rows).summaries[0])
    assert (
        "rows that go on after their last answer, with turns that nothing is learned from: 1 (first: rows.jsonl:2)"
        in lines
    )
    assert "columns that no turn is made of: id, url" in lines
    table = [{"text": "a", "label": "b", "more": "c"}]
    made = {"prompt": "{{ text }}", "completion": "{{ label }}"}
    assert "columns that no turn is made of: more" in str(load(tmp_path, *table, **made).summaries[0])
    any_column = {"prompt": "{{ row['text'] }}", "completion": "{{ label }}"}
    assert "no turn is made of" not in str(load(tmp_path, *table, **any_column).summaries[0])


def test_a_column_that_differs_in_white_space_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text, label\nfirst, a\n")
    source = {"path": str(tmp_path / "a.csv"), "columns": {"prompt": "text", "completion": "label"}}
    with pytest.raises(DataError, match="the column `label` is missing; there is ` label`"):
        load_data(DataConfig.model_validate({"train": source}))
