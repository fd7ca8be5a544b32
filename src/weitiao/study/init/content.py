"""What a first recipe says: the columns of its sources, how answers are scored, and the YAML of all that."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from weitiao.data.config import SourceConfig
from weitiao.data.example import Example
from weitiao.data.formats.columns import find_pair, labels_of
from weitiao.data.formats.detection import detect
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError

_RAW = re.compile(r"text|content|document|正文|文本", re.IGNORECASE)


def source_settings(rows: Sequence[Row], shown: str) -> tuple[dict[str, Any], str]:
    """What a source of the recipe has to say beside its path, and why, for people.

    Args:
        rows: The rows of the file, or many of them.
        shown: The name of the file.

    Raises:
        DataError: Nothing in the rows can be learned, or it cannot be guessed.
    """
    objects = [row.data for row in rows if isinstance(row.data, dict) and not row.problem]
    try:
        found = detect(SourceConfig(path=shown), rows, shown)
    except DataError:
        if not objects:
            raise
        return _guess(objects, shown)
    columns = {"columns": dict(found.source.columns)} if found.source.columns else {}
    return columns, f"read as {found.format}" + (f", {found.told}" if found.told else "")


def _guess(objects: Sequence[dict[str, Any]], shown: str) -> tuple[dict[str, Any], str]:
    if (spans := _spans(objects)) is not None:
        return spans, "a text in pieces, of which some are named: the answer is a JSON object of the named ones"
    pair = find_pair(objects, guess=True)
    question, answer = pair.question, pair.answer
    listed = ", ".join(one.name for one in pair.columns) or "none with texts or numbers"
    if question is not None and answer is not None:
        why = f"asked with `{question.name}`, answered with `{answer.name}`, of {listed}"
        if question.name == "instruction" and answer.is_text:
            return {"columns": pair.fields(question.name, answer.name)}, why
        return {"prompt": question.template, "completion": answer.template}, why
    if question is not None and _RAW.search(question.name):
        return {"format": "text", "columns": {"text": question.name}}, f"raw text in `{question.name}`"
    raise DataError(
        f"{shown}: no column looks like an answer, of {listed}: there is nothing to learn from.",
        "Add a column with the answers; questions alone can be answered with `weitiao chat MODEL < FILE`.",
    )


def _spans(objects: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Templates for rows that are a list of pieces `{text, NAME}`: their text, and the pieces that have a name."""
    for name in objects[0]:
        pieces = [piece for row in objects if isinstance(row.get(name), list) for piece in row[name]]
        if not pieces or not all(isinstance(piece, dict) and isinstance(piece.get("text"), str) for piece in pieces):
            continue
        marks = {key for piece in pieces for key in piece if key != "text"}
        if len(marks) == 1 and (mark := marks.pop()).isidentifier() and name.isidentifier():
            named = f"{{% for piece in {name} if piece.{mark} is defined %}}"
            field = f"{{{{ piece.{mark} | tojson }}}}: {{{{ piece.text | tojson }}}}{{{{ ', ' if not loop.last }}}}"
            return {
                "prompt": f"{{{{ {name} | map(attribute='text') | join }}}}",
                "completion": "{{ '{' }}" + named + field + "{% endfor %}{{ '}' }}",
            }
    return None


_ENDS_IN_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,.]*\s?(%|[^\W\d]{1,8})?[.)]?$")
_LONGEST_SHORT = 60
_LONGEST_LIST = 4000


@dataclass(frozen=True, slots=True)
class Task:
    """What the answers are.

    Attributes:
        kind: `labels`, `numbers`, `json`, `short`, `long` or `text` (raw text, no answers).
        metrics: For `evaluate.metrics`, the first decides.
        why: The reason, for people.
        system: A system text that names the labels; empty where there are none, or too many.
        max_new_tokens: Tokens that an answer may take.
    """

    kind: str
    metrics: tuple[str, ...]
    why: str
    system: str = ""
    max_new_tokens: int = 256


def task_of(examples: Sequence[Example]) -> Task:
    """The task that examples show, at least one of them."""
    answers = [example.answer for example in examples if example.messages]
    if not answers:
        return Task("text", ("perplexity",), "raw text has no answers: its perplexity is measured")
    room = _room(answers)
    if labels := sorted(labels_of([answer.strip() for answer in answers])):
        system = f"Answer with exactly one of: {', '.join(labels)}."
        why = f"the answers are {len(labels)} labels"
        return Task("labels", ("accuracy", "macro_f1"), why, system if len(system) <= _LONGEST_LIST else "", room)
    if _most(_is_json(answer) for answer in answers):
        return Task("json", ("json_fields", "json_valid"), "the answers are JSON: F1 over their fields", "", room)
    if _most(_ENDS_IN_NUMBER.search(answer.rstrip()) for answer in answers):
        return Task("numbers", ("number",), "the answers are numbers, or end in one", "", room)
    if _most(len(answer) <= _LONGEST_SHORT and "\n" not in answer.strip() for answer in answers):
        return Task("short", ("exact_match", "normalized_match"), "the answers are short texts", "", room)
    if find_spec("rouge_score"):
        why = "free texts: words in common with the expected answer; `weitiao compare --judge` says more"
        return Task("long", ("rouge_l",), why, "", room)
    why = "free texts: how likely the expected answers are; pip install 'weitiao[eval]' brings rouge_l"
    return Task("long", ("normalized_match", "perplexity"), why, "", room)


def fraction(rows: int, wanted: int, most: float) -> float:
    """The share of the rows that gives about so many, not more than `most`."""
    return float(f"{min(most, max(wanted / rows, 0.01)):.2g}")


def epochs(rows: int) -> int:
    """Passes over the rows: few rows have to be seen more often."""
    return 5 if rows < 300 else 3 if rows < 5000 else 1


def _most(found: object) -> bool:
    verdicts = [bool(one) for one in found]  # type: ignore[attr-defined]
    return sum(verdicts) >= 0.95 * len(verdicts)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _room(answers: Sequence[str]) -> int:
    """Tokens for all but the longest answers in a hundred; a token is hardly less than two characters, or one Han."""
    sizes = sorted(sum(1.0 if one > "\u2e7f" else 0.5 for one in answer) for answer in answers)
    long = sizes[min(len(sizes) - 1, len(sizes) * 99 // 100)]
    return int(min(1024, max(16, -(-long // 8) * 8 + 8)))


_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_NOT_TEXT = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
_COMMENT_COLUMN, _LINE = 32, 100

Line = tuple[int, str, str]
"""Depth, what stands there, and a comment."""


def scalar(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN.fullmatch(value) and value.casefold() not in _NOT_TEXT:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return "\\n" if character == "\n" else f"\\U{ord(character):08x}"


def source_lines(depth: int, key: str, path: str, settings: Mapping[str, Any]) -> list[Line]:
    """A source under its key: a mere path, or a mapping; as an item of a list where `key` is `-`."""
    if not settings:
        return [(depth, f"- {scalar(path)}" if key == "-" else f"{key}: {scalar(path)}", "")]
    lines = [
        (depth + 1 + (part > 0), line, "")
        for name, value in settings.items()
        for part, line in enumerate(_folded(f"{name}: {scalar(value)}"))
    ]
    first = f"path: {scalar(path)}"
    head = [(depth, f"- {first}", "")] if key == "-" else [(depth, f"{key}:", ""), (depth + 1, first, "")]
    return [*head, *lines]


def _folded(line: str) -> list[str]:
    """A long text in quotes over several lines: YAML reads a line break there as a space."""
    if len(line) <= _LINE or "  " in line or not line.endswith('"'):
        return [line]
    return textwrap.wrap(line, _LINE, break_long_words=False, break_on_hyphens=False)


def text(head: Sequence[str], lines: Sequence[Line]) -> str:
    """The file: comments at its head, then the lines."""
    out = [f"# {_one_line(line)}".rstrip() for line in head]
    out.append("")
    for depth, what, comment in lines:
        line = "  " * depth + what
        out.append(f"{line:<{_COMMENT_COLUMN}} # {_one_line(comment)}" if comment else line)
    return "\n".join(out) + "\n"


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else "�" for one in " ".join(text.split()))
