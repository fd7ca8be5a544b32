"""The sources of a recipe for people who say what their columns mean: what was found, and what a row becomes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.formats.detection import FORMATS, detect
from weitiao.data.formats.templates import variable
from weitiao.data.load import load_data
from weitiao.data.reading.files import OpenedSource, objects_of
from weitiao.data.reading.json_values import to_json
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError, WeitiaoError
from weitiao.json_text import lines_of
from weitiao.recipe import Recipe

MOST_ROWS = 20_000
_MOST_CELLS = 2_000_000
_LONGEST_VALUE = 2_000
_NUM_HEAD = 50
_NUM_REJECTED = 20
ROLES = ("prompt", "completion", "system", "messages", "text", "chosen", "rejected", "label")
"""What a column can be said to be."""


def describe(recipe: Recipe, part: str, index: int) -> dict[str, Any]:
    """A source of a recipe as it is understood; of a large one, its first rows.

    Args:
        recipe: Its sections `data` and `objective` are used.
        part: `train`, `validation`, `test` or `replay`.
        index: Which source of it.

    Returns:
        `columns` (all names), `kind`, `format`, `rows` that can be used, `rejected`, `is_all` (whether all rows were
        looked at), `findings`, `problems` (of the first rows that cannot be used), and `error` with `remedy` where
        none can.

    Raises:
        DataError: The source cannot be read.
    """
    source = recipe.data.sources[part][index]
    opened = OpenedSource(source, num_head=_NUM_HEAD, past_damage=True)
    columns = _columns(opened)
    limit = min(source.limit or MOST_ROWS, MOST_ROWS, max(_NUM_HEAD, _MOST_CELLS // max(1, len(columns))))
    looked = source.model_copy(update={"limit": limit, "sample": None, "weight": 1.0})
    values: dict[str, Any] = {"columns": columns, "kind": opened.kind, "files": len(opened.paths), "problems": []}
    with tempfile.TemporaryDirectory() as folder:
        rejected = Path(folder, "rejected.jsonl")
        config = DataConfig(train=(looked,), on_bad_rows="skip")
        try:
            found = load_data(config, rows=recipe.objective.rows(), rejected_path=rejected).summaries[0]
        except DataError as error:
            return {**values, "error": error.what, "remedy": error.remedy, "rows": 0, "rejected": 0}
        if rejected.is_file():
            values["problems"] = [json.loads(line) for line in islice(lines_of(rejected), _NUM_REJECTED)]
    return {
        **values, "format": found.format, "detected": found.detected, "rows": found.rows, "rejected": found.rejected,
        "is_all": found.rows + found.rejected < limit, "findings": found.findings,
    }  # fmt: skip


def preview(recipe: Recipe, part: str, index: int, settings: Mapping[str, Any] | None, number: int) -> dict[str, Any]:
    """A row as it stands in its file, and as the model would see it under other settings of its source.

    Args:
        recipe: All that decides about rendering is used.
        part, index: Which source.
        settings: What its columns mean: `format`, `columns`, `prompt`, ... instead of the recipe's; None leaves those.
        number: Which of the first rows, from 0; behind the last one is the last one.

    Returns:
        `row` (names and values as text, shortened), `number`, `count`, and `sequences`, each with `label`, `tokens`,
        `learned`, `pieces` (text, whether it is learned, whether it is special); or `error`, `remedy` and `field`.
    """
    given = recipe.data.sources[part][index]
    opened = OpenedSource(given, num_head=_NUM_HEAD, past_damage=True)
    number = min(number, len(opened.head) - 1)
    row = opened.head[number]
    told = {"row": _as_texts(row.data), "number": number, "count": len(opened.head), "problem": row.problem}
    try:
        source = meant(given, settings) if settings is not None else given
        source = source.model_copy(update={"limit": number + 1, "sample": None, "weight": 1.0})
        return {**told, "sequences": _rendered(recipe, source, f":{row.number}")}
    except WeitiaoError as error:
        return {**told, "error": error.what, "remedy": error.remedy}


def head_of(source: SourceConfig) -> list[Row]:
    """The first rows of a source, by which it is understood; bad ones too.

    Raises:
        DataError: The source cannot be read.
    """
    return OpenedSource(source, past_damage=True).head


def meant(source: SourceConfig, settings: Mapping[str, Any]) -> SourceConfig:
    """A source whose columns mean something else.

    Raises:
        DataError: The settings do not go together.
    """
    kept = source.model_dump(exclude={"format", "columns", "prompt", "system", "completion"})
    try:
        return SourceConfig.model_validate({**kept, **settings})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "format"
        message = first["msg"].removeprefix("Value error, ")
        raise DataError(f"`{name}`: {message}.", "Correct it.") from error


_SAID = {"instruction": "prompt", "input": "prompt", "output": "completion", "conversations": "messages"}
"""Fields of formats, as people choose them."""


def understood(source: SourceConfig, rows: Sequence[Row], record: str) -> tuple[dict[str, str], dict[str, str]]:
    """What the columns of a source are, as it is read now.

    Args:
        source: The source.
        rows: Its first rows.
        record: What the objective takes (`Rows.record`).

    Returns:
        Names of columns to `ROLES`, empty where nobody can tell; and the templates that say more than that.
    """
    columns = list(dict.fromkeys(str(key) for row in objects_of(rows) for key in row))
    roles: dict[str, str] = {}
    templates = {role: text for role in ("prompt", "completion", "system") if (text := getattr(source, role))}
    printed = {variable(name): name for name in columns}
    for role, text in list(templates.items()):
        if all(line in printed for line in text.splitlines()):  # no more than the columns, one below the other
            roles |= {printed[line]: role for line in text.splitlines()}
            del templates[role]
    fields: Sequence[str] = ("prompt", "chosen", "rejected", "completion", "label")
    named: Mapping[Any, str] = source.columns
    if record in ("answer", "prompt"):
        try:
            found = detect(source, rows, source.path, answers=record == "answer")
        except DataError:
            return roles, templates
        wanted, named = FORMATS[found.format], found.source.columns
        fields = [*wanted.required, *wanted.optional, *(one for one in wanted.on_request if one in named)]
    taken = {*templates, *roles.values()}
    for field in fields:
        name, role = named.get(field, field), _SAID.get(field, field)
        if name in columns and role in ROLES and role not in taken:
            roles[name] = role
    return roles, templates


def settings_of(roles: Mapping[str, str], example: Mapping[str, Any]) -> dict[str, Any]:
    """What a source has to say so that its columns are what a person says that they are.

    Several columns of one role are printed one below the other, and numbers as text, by a template.

    Args:
        roles: Names of columns to one of `ROLES`.
        example: A row, of which the kinds of the values are taken.

    Raises:
        DataError: No example can be made of them.
    """
    columns: dict[str, list[str]] = {}
    for name, role in roles.items():
        columns.setdefault(role, []).append(name)
    if unknown := columns.keys() - set(ROLES):
        raise DataError(f"`columns`: there is no role `{min(unknown)}`.", f"Roles are: {', '.join(ROLES)}.")
    for role in ("messages", "text", "chosen", "rejected", "label"):
        if len(columns.get(role, ())) > 1:
            raise DataError(f"`columns`: {' and '.join(columns[role])} cannot both be `{role}`.", "Keep one.")
    settings: dict[str, Any] = {"columns": {role: names[0] for role, names in columns.items() if len(names) == 1}}
    made = [
        role
        for role in ("prompt", "completion", "system")
        if len(names := columns.get(role, ())) > 1
        or (len(names) == 1 and role != "prompt" and not isinstance(example.get(names[0], ""), str | list))
    ]
    settings |= {role: "\n".join(map(variable, columns[role])) for role in made}
    settings["columns"] = {
        role: name for role, name in settings["columns"].items() if role not in made and role != name
    }
    if columns.keys() == {"text"}:
        settings["format"] = "text"
    return {name: value for name, value in settings.items() if value}


def _rendered(recipe: Recipe, source: SourceConfig, row_id_end: str) -> list[dict[str, Any]]:
    from weitiao.rendering.pieces import pieces
    from weitiao.study.dataset import load_shown

    config = DataConfig(train=(source,), on_bad_rows="skip", seed=recipe.data.seed)
    shown = load_shown(recipe.model_copy(update={"data": config}), tell=lambda line: None)
    found = [(label, one) for label, one in shown.sequences if one.row_id.endswith(row_id_end)]
    if not found:
        raise DataError("This row cannot be used.", "The list of rows below says why.")
    return [
        {
            "label": label, "tokens": len(one), "learned": one.num_learned, "truncated": one.truncated,
            "pieces": [tuple(piece) for piece in pieces(one, shown.tokenizer)],
        }
        for label, one in found
    ]  # fmt: skip


def _columns(opened: OpenedSource) -> list[str]:
    return list(dict.fromkeys(str(key) for row in opened.head if isinstance(row.data, dict) for key in row.data))


def _as_texts(data: Any) -> list[tuple[str, str]]:
    items: Sequence[tuple[Any, Any]] = list(data.items()) if isinstance(data, dict) else [("", data)]
    longest = max(80, min(_LONGEST_VALUE, 200_000 // max(1, len(items))))

    def text(value: Any) -> str:
        whole = value if isinstance(value, str) else to_json(value)
        return whole if len(whole) <= longest else f"{whole[:longest]}…"

    return [(str(name), text(value)) for name, value in items]
