"""Preferences and judged answers: every shape in use is the same row, and what cannot be used says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weitiao.data.conversion.records import Input, Opened
from weitiao.data.example import Judged, Preference, Record
from weitiao.data.reading.rows import BadRow
from weitiao.errors import DataError

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "2 + 2?"}
GOOD = {"role": "assistant", "content": "4"}
BAD = {"role": "assistant", "content": "5"}
BEFORE = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def shared(turn: dict[str, str]) -> dict[str, str]:
    """The turn as ShareGPT spells it."""
    role = {"system": "system", "user": "human", "assistant": "gpt"}[turn["role"]]
    return {"from": role, "value": turn["content"]}


def records(tmp_path: Path, *rows: Any, **settings: Any) -> list[Record]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    opened = Opened(Input(str(path), **settings))
    read = opened.reader(opened.format())
    return [read(placed) for placed in opened.rows()]


def preference(tmp_path: Path, row: Any, **settings: Any) -> Preference:
    (record,) = records(tmp_path, row, **settings)
    assert isinstance(record, Preference)
    return record


def judged(tmp_path: Path, row: Any, **settings: Any) -> Judged:
    (record,) = records(tmp_path, row, **settings)
    assert isinstance(record, Judged)
    return record


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
        {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [ASKED], "chosen": "4", "rejected": "5"},
        {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"prompt": "2 + 2?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"prompt": [ASKED], "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"conversations": [shared(ASKED)], "chosen": shared(GOOD), "rejected": shared(BAD)},
        {"messages": [ASKED], "chosen": GOOD, "rejected": BAD},
        {"instruction": "2 + 2?", "input": "", "chosen": "4", "rejected": "5"},
        {"chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5"},
    ],
)
def test_every_shape_of_one_question_is_the_same_preference(tmp_path: Path, row: dict[str, Any]) -> None:
    read = preference(tmp_path, {**row, "score": 3})
    turns = [tuple({k: m[k] for k in ("role", "content")} for m in part) for part in (read.prompt, read.chosen)]
    assert turns == [(ASKED,), (GOOD,)]
    assert (read.rejected, read.tools, read.columns, read.row_id) == ((BAD,), (), {"score": 3}, "rows.jsonl:1")


def test_a_longer_conversation_keeps_its_turns_system_and_tools(tmp_path: Path) -> None:
    whole = [SYSTEM, *BEFORE, ASKED]
    rows = [
        {"prompt": whole, "chosen": [GOOD], "rejected": [BAD], "tools": [TOOL]},
        {"chosen": [*whole, GOOD], "rejected": [*whole, BAD], "tools": json.dumps([TOOL])},
        {
            "system": "Be brief.",
            "conversations": [shared(turn) for turn in (*BEFORE, ASKED)],
            "chosen": shared(GOOD),
            "rejected": shared(BAD),
            "tools": json.dumps([TOOL["function"]]),
        },
    ]
    for row in rows:
        read = preference(tmp_path, row)
        assert (read.prompt, read.chosen, read.rejected) == (tuple(whole), (GOOD,), (BAD,))
        assert (read.tools, read.columns) == ((TOOL,), {})
    alpaca = {"instruction": "2 +", "input": "2?", "system": "Be brief.", "history": [["Hi", "Hello"]]}
    read = preference(tmp_path, {**alpaca, "chosen": "4", "rejected": "5"})
    assert [m["content"] for m in read.prompt] == ["Be brief.", "Hi", "Hello", "2 +\n2?"]


def test_the_prompt_of_whole_conversations_ends_where_both_sides_go_on_with_an_answer(tmp_path: Path) -> None:
    more = {"role": "user", "content": "Sure?"}
    rows = {
        # The answers differ, and what follows belongs to them.
        "later": ([ASKED, GOOD, more, GOOD], [ASKED, BAD, more, BAD], 1),
        # One conversation goes on after the same answer.
        "longer": ([*BEFORE, ASKED, GOOD], [*BEFORE, ASKED, GOOD, more, BAD], 3),
        # They part at a question, so the answer before it is where the prompt ends.
        "question": ([ASKED, GOOD, more, GOOD], [ASKED, GOOD, BEFORE[0], BAD], 1),
    }
    for chosen, rejected, size in rows.values():
        read = preference(tmp_path, {"chosen": chosen, "rejected": rejected})
        assert read.prompt == tuple(chosen[:size])
        assert (read.chosen, read.rejected) == (tuple(chosen[size:]), tuple(rejected[size:]))


def test_a_transcript_is_read_turn_by_turn(tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nsecond paragraph: Human: no turn\n\nAssistant:  Hello \n\nHuman: 2 + 2?\n\nAssistant:"
    read = preference(tmp_path, {"chosen": f"{start} 4", "rejected": f"{start} 5\n"})
    assert [(m["role"], m["content"]) for m in read.prompt] == [
        ("user", "Hi\n\nsecond paragraph: Human: no turn"),
        ("assistant", "Hello"),
        ("user", "2 + 2?"),
    ]
    assert (read.chosen, read.rejected) == ((GOOD,), (BAD,))


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    row = {"question": "2 + 2?", "answers": {"better": "4", "worse": "5"}, "id": 1}
    read = preference(
        tmp_path, row, columns={"prompt": "question", "chosen": "answers.better", "rejected": "answers.worse"}
    )
    assert (read.prompt, read.chosen, read.rejected) == ((ASKED,), (GOOD,), (BAD,))
    assert read.columns == {"answers": row["answers"], "id": 1}
    marked = judged(tmp_path, {"q": "2 + 2?", "completion": "4", "good": 1}, columns={"prompt": "q", "label": "good"},
                    format="kto")  # fmt: skip
    assert (marked.prompt, marked.completion, marked.label, marked.columns) == ((ASKED,), (GOOD,), True, {})


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "rejected", "the answer is empty"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "chosen", "is null"),
        ({"prompt": "a", "chosen": 3, "rejected": "b"}, "chosen", "must be text, is a number"),
        ({"prompt": "", "chosen": "b", "rejected": "c"}, "prompt", "is empty"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "rejected", "is the same as `chosen`"),
        ({"chosen": [ASKED, GOOD], "rejected": [ASKED, GOOD]}, "rejected", "is the same as `chosen`"),
        ({"chosen": [ASKED, GOOD], "rejected": [BEFORE[0], BAD]}, "rejected", "share no prompt"),
        ({"chosen": "b", "rejected": "c"}, "chosen", "has no prompt"),
        ({"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: b"}, "chosen[1].content",
         "the answer is empty"),
        ({"prompt": "x", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, "prompt", "is not what"),
        ({"prompt": "a", "chosen": [GOOD, ASKED], "rejected": "b"}, "chosen", "end with an assistant turn"),
        ({"conversations": [{"from": "narrator", "value": "x"}], "chosen": shared(GOOD), "rejected": shared(BAD)},
         "prompt[0].from", "'narrator' is not known"),
        ({"instruction": "a", "chosen": "b", "rejected": " "}, "rejected", "the answer is empty"),
        ([1], "", "the row is a list"),
    ],
)  # fmt: skip
def test_a_preference_that_cannot_be_used_names_field_and_reason(
    tmp_path: Path, row: Any, field: str, reason: str
) -> None:
    with pytest.raises(BadRow) as caught:
        records(tmp_path, {"prompt": "a", "chosen": "b", "rejected": "c"}, row)
    assert (caught.value.field, reason in caught.value.reason) == (field, True), caught.value.reason


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2?", "completion": "4", "label": True},
        {"prompt": [ASKED], "completion": [GOOD], "label": True},
        {"prompt": "2 + 2?", "completion": "4", "label": "True"},
        {"messages": [ASKED, GOOD], "label": True},
        {"conversations": [shared(ASKED), shared(GOOD)], "kto_tag": True},
        {"instruction": "2 + 2?", "input": "", "output": "4", "kto_tag": True},
    ],
)
def test_every_shape_of_a_judged_answer_is_the_same(tmp_path: Path, row: dict[str, Any]) -> None:
    read = judged(tmp_path, {**row, "id": 7})
    assert [(m["role"], m["content"]) for m in (*read.prompt, *read.completion)] == [
        ("user", "2 + 2?"),
        ("assistant", "4"),
    ]
    assert (read.label, read.columns) == (True, {"id": 7})


def test_tools_may_appear_late_in_a_file(tmp_path: Path) -> None:
    row = {"prompt": "2 + 2?", "completion": "4", "label": True}
    read = records(tmp_path, *[row] * 30, {**row, "tools": [TOOL], "system": "Be brief."})[-1]
    assert isinstance(read, Judged) and (read.tools, read.prompt, read.columns) == ((TOOL,), (SYSTEM, ASKED), {})


def test_a_completion_of_several_turns_keeps_its_beginning(tmp_path: Path) -> None:
    answers = [*BEFORE[1:], ASKED, GOOD]
    read = judged(tmp_path, {"prompt": [BEFORE[0]], "completion": answers, "label": False, "tools": [TOOL]})
    assert (read.prompt, read.completion, read.tools) == (BEFORE[:1], tuple(answers), (TOOL,))


def test_a_label_that_is_the_name_of_a_class_makes_no_judged_answer(tmp_path: Path) -> None:
    rows = [{"prompt": "Where is it?", "completion": "arrival", "label": "arrival"}]
    assert type(records(tmp_path, *rows)[0]).__name__ == "Example"
    with pytest.raises(BadRow, match="must be true or false, is `arrival`"):
        records(tmp_path, *rows, format="kto")
    tagged = judged(tmp_path, {**rows[0], "kto_tag": False})
    assert (tagged.label, tagged.columns) == (False, {"label": "arrival"})


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"prompt": "a", "completion": "b", "label": None}, "label", "is null"),
        ({"prompt": "a", "completion": "b"}, "label", "`label` is missing"),
        ({"prompt": "a", "completion": "b", "label": 2}, "label", "must be true or false, is `2`"),
        ({"prompt": "a", "completion": "b", "label": [1]}, "label", "must be true or false, is a list"),
        ({"prompt": "a", "completion": "", "label": True}, "completion", "the answer is empty"),
    ],
)
def test_a_judged_answer_that_cannot_be_used_names_field_and_reason(
    tmp_path: Path, row: Any, field: str, reason: str
) -> None:
    with pytest.raises(BadRow) as caught:
        records(tmp_path, {"prompt": "a", "completion": "b", "label": True}, row, format="kto")
    assert (caught.value.field, reason in caught.value.reason) == (field, True), caught.value.reason


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}
    with pytest.raises(DataError, match="no field of the format preference is called text"):
        records(tmp_path, row, columns={"text": "prompt"})
    with pytest.raises(DataError, match="no field of the format auto is called promt") as caught:
        records(tmp_path, {"q": "a", "completion": "b"}, columns={"promt": "q"})
    assert "prompt" in caught.value.remedy
    with pytest.raises(DataError, match="templates cannot make preference rows"):
        records(tmp_path, row, templates={"prompt": "{{ prompt }}"}, format="preference")
    with pytest.raises(DataError, match="there is no format `dpo`"):
        records(tmp_path, row, format="dpo")
