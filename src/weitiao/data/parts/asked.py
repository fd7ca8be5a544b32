"""What a row asks, for splits, examples in prompts and checks alike: when two rows have the same input."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from weitiao.data.conversion.records import Opened
from weitiao.data.example import Example, Message, Record
from weitiao.data.formats.formats import columns_of, required
from weitiao.data.reading.files import PlacedRow
from weitiao.data.reading.json_values import to_json
from weitiao.text.folding import fold, letters, shingles

_DIGEST_BYTES = 16
_LEAST_TURN = 32
_LEAST_HAN_TURN = 15
_VARIABLES = re.compile(r"{{[^}]*}}|{%[^%]*%}")
_NAME = re.compile(r"[A-Za-z_]\w*")


class Asked(NamedTuple):
    """What a row asks.

    Attributes:
        draw: 16 bytes that stand for all that a model is given, its system turn included. Rows are drawn in their
            order, so that a choice depends on content and seed alone.
        keys: Rows that share one of these (16 bytes each) ask the same. The first stands for the input: every turn
            before the last answer but the system's, or raw text as a whole. The others stand for what is asked within
            it: the columns that a template takes, and the longer user turns of a conversation.
        texts: The texts of the input.
        raw: The columns that a template takes, without its own words; empty without a template.
    """

    draw: bytes
    keys: tuple[bytes, ...]
    texts: tuple[str, ...]
    raw: str = ""


def asked_by(example: Example, raw: str = "") -> Asked:
    """What an example asks.

    Args:
        example: A conversation, whose turns before the last answer count (all turns, if it begins with the answer),
            or raw text.
        raw: See `Asked`.
    """
    turns = example.prompt or example.messages
    return asked_in(turns, raw) if turns else asked_text(example.text)


def asked_in(turns: Sequence[Message], raw: str = "") -> Asked:
    """What turns ask that a model is given.

    Case, punctuation and white space do not count, and neither does the system turn: it says how to answer, not what
    is asked. Only where nothing else is given, it is what is asked.
    """
    plain = [letters(str(turn["content"] or "")) for turn in turns]
    draw = digest([[t["role"], text, t.get("tool_calls")] for t, text in zip(turns, plain, strict=True)])
    calls = [json.dumps(turn["tool_calls"], default=str) if turn.get("tool_calls") else "" for turn in turns]
    own = [i for i, turn in enumerate(turns) if turn["role"] != "system" and (plain[i] or calls[i])]
    own = own or list(range(len(turns)))
    keys = [digest([plain[i] + calls[i] for i in own])]
    questions = [plain[i] for i in own if turns[i]["role"] == "user"]
    if len(questions) > 1:
        keys += [digest([text]) for text in questions if _is_long(text)]
    if raw:
        keys.append(digest([letters(raw)]))
    texts = tuple(f"{turns[i]['content'] or ''}{calls[i]}" for i in own)
    return Asked(draw, tuple(dict.fromkeys(keys)), texts, raw)


def asked_text(text: str) -> Asked:
    """What raw text asks: all of it."""
    plain = letters(text)
    return Asked(digest(plain), (digest([plain]),), (text,))


def asked_values(named: Sequence[tuple[str, str]], *, with_names: bool) -> Asked:
    """What the values of columns ask.

    Args:
        named: The columns that are the input, with their values as text.
        with_names: Whether the names tell rows apart, as where rows may lack columns.
    """
    key = digest([[name, letters(text)] if with_names else letters(text) for name, text in named])
    return Asked(key, (key,), tuple(text for _, text in named))


class RawInput:
    """Finds the columns that the template of an input takes.

    Args:
        template: The template of the user turn, if there is one.
    """

    def __init__(self, template: str | None) -> None:
        expressions = " ".join(_VARIABLES.findall(template or ""))
        self._columns = tuple(dict.fromkeys(_NAME.findall(expressions)))

    def __call__(self, data: Any) -> str:
        """The values of these columns in a row, one below the other."""
        values = (data.get(name) for name in self._columns) if isinstance(data, dict) else ()
        return "\n".join(str(value) for value in values if value is not None and isinstance(value, (str, int, float)))


def digest(value: Any) -> bytes:
    """16 bytes that stand for a value of JSON."""
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=_DIGEST_BYTES).digest()


def _is_long(text: str) -> bool:
    """Whether a turn is long enough to be a question of its own, and no `thank you`."""
    return len(text) >= (_LEAST_TURN if text.isascii() else _LEAST_HAN_TURN)


_LEAST_ROWS = 10
_LEAST_SHARE_OF_LINES = 0.01
_LEAST_SHARE_OF_SHINGLES = 0.2


class Boilerplate(NamedTuple):
    """What many rows share: whole lines, and shingles of what is left without them; folded."""

    lines: frozenset[str] = frozenset()
    shingles: frozenset[str] = frozenset()

    def __or__(self, other: Boilerplate) -> Boilerplate:
        return Boilerplate(self.lines | other.lines, self.shingles | other.shingles)

    def of_own(self, text: str) -> list[str]:
        """The shingles of a row's own text that many rows do not share; none where only equality can be told."""
        return [part for part in shingles(text) if part not in self.shingles]


def find_boilerplate(rows: Iterable[Asked]) -> Boilerplate:
    """What many of some rows share: lines in at least one of a hundred, shingles in one of five, each in ten or more.

    Lines catch one of several instructions. Shingles catch words that stand in one line with what differs; there the
    share is high, for a few rows that are twins share shingles, too.

    Args:
        rows: A sample of the rows.
    """
    rows = list(rows)
    lines = Counter(line for row in rows for line in {fold(line) for text in row.texts for line in text.splitlines()})
    least = max(_LEAST_ROWS, len(rows) * _LEAST_SHARE_OF_LINES)
    shared = Boilerplate(frozenset(line for line, count in lines.items() if line and count >= least))
    parts = Counter(part for row in rows for part in shingles(own_text(row, shared)))
    least = max(_LEAST_ROWS, len(rows) * _LEAST_SHARE_OF_SHINGLES)
    return shared._replace(shingles=frozenset(part for part, count in parts.items() if count >= least))


def own_text(asked: Asked, shared: Boilerplate) -> str:
    """What of a row's input tells it apart, folded.

    Without the words of the recipe's template and without lines that many rows share, unless nothing else is there.
    """
    if asked.raw:
        return fold(asked.raw)
    if not shared.lines:
        return fold("\n".join(asked.texts))
    lines = [fold(line) for text in asked.texts for line in text.splitlines()]
    own = [line for line in lines if line not in shared.lines]
    return " ".join(own) if own and len(own) < len(lines) else fold("\n".join(asked.texts))


Ask = Callable[[PlacedRow], Asked]


def input_of(opened: Opened, columns: Sequence[str], others: Sequence[str]) -> tuple[str, Ask]:
    """How the input of a row is found.

    Args:
        opened: The rows.
        columns: The columns that are the input; when there are none, the format tells.
        others: Columns that are no part of the input. Where the rows have no format that is known, and none was
            named, all columns but these are the input.

    Returns:
        What the input is, in words, and what tells what a row asks or raises `BadRow`.

    Raises:
        DataError: The rows are no objects, or do not have the format that was named.
    """
    if columns:
        return f"the columns {', '.join(columns)}", lambda placed: _of_columns(columns_of(placed.row), columns)
    format = opened.format_or_none()
    if format is None:
        taken = [name for name in opened.columns if name not in others]
        return f"the columns {', '.join(taken)} (no format fits)", lambda placed: _of_rest(placed, others)
    read = opened.reader(format)
    return f"the question of {format} rows", lambda placed: _of_record(read(placed))


def value_of(row: dict[str, Any], column: str) -> str:
    """The value of a column as text, for comparison.

    Raises:
        BadRow: The row does not have it, or it is null.
    """
    value = required(row, column, column)
    return value if isinstance(value, str) else to_json(value, strict=False)


def _of_record(record: Record) -> Asked:
    return asked_by(record) if isinstance(record, Example) else asked_in(record.prompt)


def _of_columns(row: dict[str, Any], columns: Sequence[str]) -> Asked:
    return asked_values([(column, value_of(row, column)) for column in columns], with_names=False)


def _of_rest(placed: PlacedRow, others: Sequence[str]) -> Asked:
    row = columns_of(placed.row)
    texts = {name: value if isinstance(value, str) else to_json(value, strict=False) for name, value in row.items()}
    return asked_values([(name, text) for name, text in sorted(texts.items()) if name not in others], with_names=True)
