"""Rows as people write them in each format, and what two rows have in common when they say the same."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from weitiao.data.conversion.records import Input, Opened
from weitiao.data.example import Record
from weitiao.data.writing.convert import Conversion, convert_file

WORDS = [
    'say "hi"',
    "new\nline",
    "comma, semicolon; tab\t",
    "你好，世界",
    "🙂",
    " space ",
    "cr\r\n",
    "{{x}}",
    "Human: x",
]
TOOLS = [
    {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    {"name": "stop"},
]
FEATURES = {
    "alpaca": {"plain", "system", "turns"},
    "prompt_completion": {"plain", "system", "turns"},
    "messages": {"plain", "system", "turns", "tools"},
    "sharegpt": {"plain", "system", "turns", "tools"},
}
KINDS = ("jsonl", "json", "parquet", "csv")
ROLES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def conversation(draw: random.Random, feature: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages as OpenAI writes them, and tools."""

    def text() -> str:
        return f"{draw.random()} {draw.choice(WORDS)}{draw.choice(WORDS)}"

    def pair() -> list[dict[str, Any]]:
        return [{"role": "user", "content": text()}, {"role": "assistant", "content": text()}]

    messages = pair()
    if feature == "turns":
        messages = [*pair(), *pair(), *messages]
    if feature == "system" or (feature == "turns" and draw.random() < 0.5):
        messages = [{"role": "system", "content": text()}, *messages]
    if feature != "tools":
        return messages, []
    names = draw.sample([{"city": text()}, {"days": [1, 2]}, {"units": {"t": "C"}}, {}], 2)
    calls = [{"type": "function", "function": {"name": "weather", "arguments": given}} for given in names]
    if draw.random() < 0.5:
        calls = [{**calls[0], "id": "call_1"}]
    asked, answered = messages
    used = [
        asked,
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": text()},
        answered,
    ]
    return used, [{"type": "function", "function": tool} for tool in TOOLS[: draw.randint(1, 2)]]


def native(format: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """A row as people write it in a format; shares no code with the program."""
    if format == "messages":
        return {"messages": messages, **({"tools": tools} if tools else {})}
    if format == "prompt_completion":
        return {"prompt": messages[:-1], "completion": messages[-1:]}
    if format == "sharegpt":
        turns = []
        for message in messages:
            if "tool_calls" in message:
                bare = [{**c["function"], **({"id": c["id"]} if "id" in c else {})} for c in message["tool_calls"]]
                turns.append({"from": "function_call", "value": json.dumps(bare if len(bare) > 1 else bare[0])})
            else:
                turns.append({"from": ROLES[message["role"]], "value": message["content"]})
        return {"conversations": turns, **({"tools": json.dumps([t["function"] for t in tools])} if tools else {})}
    row: dict[str, Any] = {}
    if messages[0]["role"] == "system":
        row["system"], messages = messages[0]["content"], messages[1:]
    *before, asked, answered = messages
    row["history"] = [[q["content"], a["content"]] for q, a in zip(before[::2], before[1::2], strict=True)]
    return {"instruction": asked["content"], "input": "", "output": answered["content"], **row}


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def records(path: Path, **settings: Any) -> list[Record]:
    opened = Opened(Input(str(path), **settings))
    read = opened.reader(opened.format())
    return [read(placed) for placed in opened.rows()]


def convert(path: Path, output: Path, to: str | None = None, **settings: Any) -> Conversion:
    given = {key: settings.pop(key) for key in ("format", "columns", "templates") if key in settings}
    return convert_file(Input(str(path), **given), output, to=to, **settings)


def bare(record: Record, *, as_text: bool = False) -> Any:
    """What a row says, without where it stands: null columns count as absent, and CSV columns as text."""
    names = ("messages", "prompt", "chosen", "rejected", "completion")
    parts = [getattr(record, name) for name in names if hasattr(record, name)]
    turns = [[{k: v for k, v in turn.items() if k not in ("instruction", "input")} for turn in part] for part in parts]
    columns = {name: value for name, value in record.columns.items() if value not in (None, "")}
    if as_text:
        columns = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in columns.items()}
    return [
        type(record).__name__,
        turns,
        getattr(record, "text", ""),
        record.tools,
        getattr(record, "label", None),
        columns,
    ]


def extra(number: int) -> dict[str, Any]:
    return {"id": number, "topic": WORDS[number % len(WORDS)], "seen": number % 2 == 0, "meta": {"tags": ["a", "b"]}}
