"""Rows with an answer in steps and a label for each, in the shape of TRL's stepwise supervision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from weitiao.data.config import SourceConfig
from weitiao.data.conversion.compared import EXTRAS
from weitiao.data.example import Example, Rows
from weitiao.data.formats.conversations import parsed_json
from weitiao.data.formats.formats import Converter, columns_of, required
from weitiao.data.reading.rows import BadRow, Row, kind_of

STEP_FIELDS = ("completions", "labels")
LEARN_STEPS = "Learn from steps with objective: {type: reward, loss: step}."


def step_reader(path: str, rows: Rows) -> Callable[[Row, str], Example]:
    """What turns rows with `prompt` (text or turns), `completions` and `labels` into examples with `steps`.

    Args:
        path: The name of the source, for messages.
        rows: What joins the steps to an answer, and whether they have to have labels.
    """
    convert = Converter(SourceConfig(path=path, columns=EXTRAS), "prompt_completion")

    def read(row: Row, row_id: str) -> Example:
        data = columns_of(row)
        steps = _listed(data, "completions")
        for place, step in enumerate(steps):
            if not isinstance(step, str) or not step.strip():
                reason = "the step is empty" if isinstance(step, str) else f"must be text, is {kind_of(step)}"
                raise BadRow(f"completions[{place}]", reason)
        is_labelled = rows.labelled or data.get("labels") is not None
        labels = list(map(_label, count(), _listed(data, "labels"))) if is_labelled else [math.nan] * len(steps)
        if len(labels) != len(steps):
            raise BadRow("labels", f"has {len(labels)} for the {len(steps)} steps in `completions`")
        rest = {name: value for name, value in data.items() if name not in STEP_FIELDS}
        example = convert(Row(row.number, row.line, {**rest, "completion": rows.separator.join(steps)}), row_id)
        ends = [len(rows.separator.join(steps[:num]).rstrip()) for num in range(1, len(steps) + 1)]
        return replace(example, given=len(example.messages) - 1, steps=tuple(zip(ends, labels, strict=True)))

    return read


def _listed(data: dict[str, Any], field: str) -> list[Any]:
    """A list, which may be JSON text."""
    value = required(data, field, field)
    value = parsed_json(value, field) if isinstance(value, str) else value
    if not isinstance(value, (list, tuple)) or not value:
        raise BadRow(field, "is empty" if value in ([], ()) else f"must be a list, is {kind_of(value)}")
    return list(value)


def _label(place: int, value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        said = f"{value}" if isinstance(value, int | float) else kind_of(value)
        raise BadRow(f"labels[{place}]", f"must be true, false or a number from 0 to 1, is {said}")
    return float(value)
