"""What a source of a first recipe has to say about its columns: a format that fits, or the two that ask and answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from weitiao.data.config import SourceConfig
from weitiao.data.formats.columns import find_pair
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
