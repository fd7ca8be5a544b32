"""What the columns of unknown rows mean: a format that fits, or a guess at the question and the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from weitiao.data.config import SourceConfig
from weitiao.data.formats.detection import FORMATS, detect
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError

MOST_LABELS, LONGEST_LABEL, LEAST_ROWS_PER_LABEL = 200, 80, 4
_ANSWER = re.compile(
    r"answer|response|output|completion|target|reply|solution|summary|translation|label|category|class|intent|sentiment"
    r"|答|回复|输出|标签|类别",
    re.IGNORECASE,
)
_HAN = re.compile("[一-鿿]")
_RAW = re.compile(r"text|content|document|正文|文本", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of scalars, also one inside of others (`instances.0.output`)."""

    name: str
    values: tuple[Any, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(str(value) for value in self.values)

    @property
    def is_text(self) -> bool:
        return all(isinstance(value, str) for value in self.values)

    @property
    def template(self) -> str:
        """The Jinja expression of this column, as a template of its own."""
        first, *rest = self.name.split(".")
        start = first if first.isidentifier() and first.isascii() else f'row["{first}"]'
        return "{{ " + start + "".join(f"[{part}]" if part.isdigit() else f'["{part}"]' for part in rest) + " }}"


def is_closed(texts: Sequence[str]) -> bool:
    """Whether texts are labels of a closed set: short, and each comes several times."""
    labels = set(texts)
    return (
        1 < len(labels) <= min(MOST_LABELS, len(texts) // LEAST_ROWS_PER_LABEL)
        and max(map(len, labels)) <= LONGEST_LABEL
        and not any("\n" in label for label in labels)
    )


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
    columns = _columns(objects)
    if nested := _nested_format(columns):
        return {"columns": nested}, "the format's columns lie inside of others"
    texts = [one for one in columns if one.is_text and len(set(one.texts)) > len(one.texts) / 2 and _is_prose(one)]
    answers = [one for one in columns if _ANSWER.search(one.name)]
    answers.sort(key=lambda one: one not in texts)  # a text before a label, a label before a number
    answers += [one for one in columns if one not in answers and is_closed(one.texts)]
    answers += texts[1:]
    for answer in answers:
        questions = [one for one in texts if one is not answer]
        if questions:
            question = max(questions, key=lambda one: fmean(map(len, one.texts)))
            if answer in texts:  # of two texts the first is the question
                question = questions[0]
            why = f"asked with `{question.name}`, answered with `{answer.name}`, of {_listed(columns)}"
            return {"prompt": question.template, "completion": answer.template}, why
    if texts and _RAW.search(texts[0].name):
        return {"format": "text", "columns": {"text": texts[0].name}}, f"raw text in `{texts[0].name}`"
    raise DataError(
        f"{shown}: no column looks like an answer, of {_listed(columns)}: there is nothing to learn from.",
        "Add a column with the answers; questions alone can be answered with `weitiao chat MODEL < FILE`.",
    )


def _listed(columns: Sequence[Column]) -> str:
    return ", ".join(one.name for one in columns) or "none with texts or numbers"


def _is_prose(column: Column) -> bool:
    """Whether most values are more than a word, an address or a date."""
    return (
        fmean(len(text.split()) > 2 or any("\u4e00" <= one <= "\u9fff" for one in text) for text in column.texts) > 0.5
    )


def _columns(objects: Sequence[dict[str, Any]]) -> list[Column]:
    """The scalar columns that almost every row has."""
    found: dict[str, list[Any]] = {}
    for row in objects:
        for name, value in _scalars(row, ""):
            found.setdefault(name, []).append(value)
    return [Column(name, tuple(values)) for name, values in found.items() if len(values) > 0.5 * len(objects)]


def _scalars(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _scalars(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _scalars(value[0], f"{name}.0")
    elif isinstance(value, str | int | float) and name:
        yield name, value


def _nested_format(columns: Sequence[Column]) -> dict[str, str]:
    """The columns of a format of which some lie inside of others, by their own names."""
    last = {one.name.rpartition(".")[2]: one.name for one in columns}
    for fields in FORMATS.values():
        if all(field in last for field in fields.required) and any("." in last[field] for field in fields.required):
            return {field: last[field] for field in (*fields.required, *fields.optional) if field in last}
    return {}


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
