"""From the canonical form of a row to another form and to the columns of a format, or the reason why it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from weitiao.data.conversion.compared import EXTRAS
from weitiao.data.conversion.records import RecordFormat
from weitiao.data.conversion.steps import LEARN_STEPS
from weitiao.data.conversion.turns import (
    is_plain,
    is_text,
    openai_tools,
    openai_turns,
    sharegpt_tools,
    sharegpt_turns,
)
from weitiao.data.example import Example, Judged, Message, Preference, Record
from weitiao.data.formats.detection import FORMATS
from weitiao.data.reading.rows import BadRow
from weitiao.errors import DataError


def check_formats(source: RecordFormat, target: RecordFormat, shown: str) -> None:
    """Refuses conversions that no row can pass.

    Raises:
        DataError: The rows of the source lack what the target is about.
    """
    if "stepwise" in (source, target):
        lacks = "a label for each step" if target == "stepwise" else "answers that were found good as a whole"
    elif source in ("preference", "kto"):
        lacks = "raw text" if target == "text" else ""
    elif target == "preference":
        lacks = "a better and a worse answer to each prompt"
    elif target == "kto":
        lacks = "a mark for good or bad"
    elif source == "text" and target != "text":
        lacks = "questions and answers"
    else:
        lacks = "raw text" if target == "text" and source != "text" else ""
    if lacks:
        raise DataError(
            f"{shown}: is {source}, and its rows do not have {lacks}, so it cannot become {target}.",
            LEARN_STEPS
            if source == "stepwise"
            else "Choose another format with --to, or say with --from and --column what the columns mean.",
        )


def adapted(record: Record, target: RecordFormat) -> tuple[Record, ...]:
    """The rows of the target's kind that a row gives.

    A preference gives two judged answers, or an example with the better answer; a judged answer gives an example when
    it is good, and nothing when it is bad. Two judged answers make a preference in `pairing`.
    """
    match record:
        case Example():
            return (record,)
        case Preference(row_id, prompt, chosen, rejected, tools, columns):
            if target == "preference":
                return (record,)
            if target == "kto":
                return (
                    Judged(row_id, prompt, chosen, True, tools, columns),
                    Judged(row_id, prompt, rejected, False, tools, columns),
                )
            return (Example(row_id, (*prompt, *chosen), tools=tools, columns=columns),)
        case Judged(row_id, prompt, completion, label, tools, columns):
            if target == "kto":
                return (record,)
            return (Example(row_id, (*prompt, *completion), tools=tools, columns=columns),) if label else ()


_ANYWHERE = frozenset(("messages", "conversations", "chosen", "rejected", "kto_tag"))


def reserved(format: RecordFormat) -> frozenset[str]:
    """Names that a column beside the conversation cannot keep: the format would read it as part of the conversation."""
    if format == "preference":
        return _ANYWHERE | {"prompt", *EXTRAS}
    if format == "kto":
        return _ANYWHERE | {"prompt", "completion", "label", *EXTRAS}
    assert format != "stepwise", "refused by `check_formats`"
    return _ANYWHERE.union(FORMATS[format].required, FORMATS[format].optional)


class Layout(NamedTuple):
    """How rows of a format are written.

    Attributes:
        format: The format.
        turns: Whether prompts and answers are lists of turns and not text.
        uniform: Whether every row has the same type in a column, so that what differs from row to row (arguments of
            tool calls, tool definitions) is JSON text.
    """

    format: RecordFormat
    turns: bool
    uniform: bool


def has_text_form(record: Record) -> bool:
    """Whether prompt and answers can be written as text: one question, and answers of one turn, with nothing else."""
    match record:
        case Example():
            return is_plain(record.messages[:-1], "user") and is_plain(record.messages[-1:], "assistant")
        case Preference():
            answers = [record.chosen, record.rejected]
        case Judged():
            answers = [record.completion]
    plain = is_plain(record.prompt, "user") and all(is_plain(answer, "assistant") for answer in answers)
    return plain and not record.tools


def to_row(record: Record, layout: Layout) -> dict[str, Any]:
    """The columns of a row, without those beside the conversation.

    Args:
        record: A row that the format is made for (`adapted`).
        layout: How it is written.

    Raises:
        BadRow: The format cannot hold it.
    """
    match record:
        case Example():
            return _example(record, layout)
        case Preference():
            sides = {"chosen": record.chosen, "rejected": record.rejected}
            return _with_prompt(record.prompt, sides, record.tools, layout)
        case Judged():
            row = _with_prompt(record.prompt, {"completion": record.completion}, record.tools, layout)
            return {**row, "label": record.label}


def _example(example: Example, layout: Layout) -> dict[str, Any]:
    if layout.format == "text":
        return {"text": example.text}
    if not example.messages:
        raise BadRow("", f"is raw text, which {layout.format} cannot hold: nobody asks and nobody answers")
    match layout.format:
        case "alpaca":
            return _alpaca(example)
        case "messages":
            tools = {"tools": openai_tools(example.tools, uniform=layout.uniform)} if example.tools else {}
            return {"messages": openai_turns(example.messages, uniform=layout.uniform), **tools}
        case "sharegpt":
            tools = {"tools": sharegpt_tools(example.tools)} if example.tools else {}
            return {"conversations": sharegpt_turns(example.messages, "messages"), **tools}
        case _:
            return _prompt_completion(example, layout)


def _alpaca(example: Example) -> dict[str, Any]:
    if example.tools:
        raise BadRow("tools", "alpaca cannot hold tool definitions")
    turns = list(example.messages)
    for index, turn in enumerate(turns):
        if not is_text([turn]):
            raise BadRow(f"messages[{index}]", "alpaca holds the text of a turn only, and this one has more")
    row: dict[str, Any] = {}
    if turns[0]["role"] == "system":
        row["system"] = turns.pop(0)["content"]
        if not row["system"].strip():
            raise BadRow("messages[0]", "alpaca cannot hold an empty system turn")
    roles = [turn["role"] for turn in turns]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise BadRow("messages", f"alpaca holds pairs of question and answer, and the roles are {', '.join(roles)}")
    *before, question, answer = turns
    if before:
        texts = [turn["content"] for turn in before]
        row["history"] = [list(pair) for pair in zip(texts[0::2], texts[1::2], strict=True)]
    instruction, given = question.get("instruction", question["content"]), question.get("input", "")
    return {"instruction": instruction, "input": given, "output": answer["content"], **row}


def _prompt_completion(example: Example, layout: Layout) -> dict[str, Any]:
    if example.tools:
        raise BadRow("tools", "prompt_completion cannot hold tool definitions; messages and sharegpt can")
    if example.messages[-1]["role"] != "assistant":
        raise BadRow("messages", f"the last turn is of the role {example.messages[-1]['role']}, not the assistant's")
    if len(example.messages) == 1:
        raise BadRow("messages", "no turn comes before the answer, so there is no prompt")
    return _with_prompt(example.messages[:-1], {"completion": example.messages[-1:]}, (), layout)


def _with_prompt(
    prompt: Sequence[Message],
    answers: dict[str, tuple[Message, ...]],
    tools: Sequence[dict[str, Any]],
    layout: Layout,
) -> dict[str, Any]:
    """A prompt and answers, as text or as lists of turns."""
    if layout.turns:
        sides = {"prompt": prompt, **answers}
        row: dict[str, Any] = {name: openai_turns(turns, uniform=layout.uniform) for name, turns in sides.items()}
        return {**row, **({"tools": openai_tools(tools, uniform=layout.uniform)} if tools else {})}
    if tools or not is_plain(prompt, "user") or not all(is_plain(answer, "assistant") for answer in answers.values()):
        raise BadRow("", "is more than one question and its answer, and a CSV file has text only; write JSON Lines")
    return {"prompt": prompt[0]["content"], **{name: turns[0]["content"] for name, turns in answers.items()}}
