"""Mending one row: texts in its columns, and whether it has to go."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from weitiao.data.clean_config import CleanConfig
from weitiao.data.reading.opening import NOT_UTF8
from weitiao.data.reading.rows import Row
from weitiao.quality.characters import (
    mask_personal_data,
    mend_bytes,
    mend_mojibake,
    plain_whitespace,
    remove_control_characters,
)
from weitiao.quality.findings import Problem
from weitiao.quality.markup import fill_placeholders, names_in, remove_special_tokens, strip_html
from weitiao.quality.meaning import Meaning, used_columns
from weitiao.quality.row_checks import TEXT_CHECKS, RowChecks
from weitiao.quality.settings import CheckSettings
from weitiao.quality.subject import SubjectReader, mapped

ROW_DROPS = ("empty_answer", "placeholder", "language", "long")
"""Fixes that drop a row for what stands in it alone."""
_MOST_ROUNDS = 20
_TEXT_KEYS = ("content", "value", "text")


class Mended(NamedTuple):
    """A row after mending.

    Attributes:
        row: The row; its `data` is mended.
        applied: The fixes that changed it.
        drop: Why it has to go, if it has to.
        unfilled: Names of the placeholders in it that nobody filled in.
    """

    row: Row
    applied: tuple[str, ...]
    drop: Problem | None
    unfilled: tuple[str, ...]


class Mender:
    """Mends the rows of one source.

    Args:
        config: What to mend.
        meaning: What the columns mean.
    """

    def __init__(self, config: CleanConfig, meaning: Meaning) -> None:
        self._fixes = frozenset(config.fix)
        self._fills = bool(config.placeholders)
        self._changes = _changes(config.placeholders)
        self._columns = used_columns(meaning)
        self._read = SubjectReader(meaning)
        kinds = self._fixes.intersection((*TEXT_CHECKS, *ROW_DROPS))
        settings = CheckSettings(kinds=kinds, max_characters=config.max_characters)
        self._check = RowChecks(settings, has_answers=meaning.has_answers)

    def __call__(self, row: Row) -> Mended:
        """Mends a row until nothing is left to mend; applied to its own result it changes nothing."""
        applied: dict[str, None] = {}
        if row.problem.startswith(NOT_UTF8) and "encoding" in self._fixes and isinstance(row.data, dict):
            row = replace(row, data=mapped(row.data, mend_bytes), problem="")
            applied["encoding"] = None
        subject = self._read(row)
        problems = self._check(subject)
        for _ in range(_MOST_ROUNDS):
            data = (
                self._fixed(row.data, {problem.kind for problem in problems}, applied) if not row.problem else row.data
            )
            if data == row.data:
                break
            row = replace(row, data=data)
            subject = self._read(row)
            problems = self._check(subject)
        drop = self._reason_to_drop(subject.problem, problems)
        unfilled = names_in(" ".join(problem.reason for problem in problems if _is_unfilled(problem)))
        return Mended(row, tuple(applied), drop, tuple(unfilled))

    def _reason_to_drop(self, unusable: Problem | None, problems: list[Problem]) -> Problem | None:
        if unusable is not None and unusable.kind in ("format", "encoding"):
            return unusable
        for problem in problems:
            # Answers in words that the question names stay; placeholders that may be meant do, too, and where some
            # are filled in, those that have no value yet.
            if problem.kind == "placeholder" and (self._fills or not _is_unfilled(problem)):
                continue
            if problem.kind in ROW_DROPS and (problem.kind, problem.severity) != ("language", "info"):
                return problem
        return None

    def _fixed(self, data: Any, found: set[str], applied: dict[str, None]) -> Any:
        """The columns with what was found mended, once each; what changed them is noted."""
        if not isinstance(data, dict):
            return data
        for fix in TEXT_CHECKS:
            if fix not in found:
                continue
            change, used = self._changes[fix], data.keys() if self._columns is None else self._columns
            changed = {name: change(value) if name in used else value for name, value in data.items()}
            if changed != data:
                applied[fix] = None
                data = changed
        return data


def _is_unfilled(problem: Problem) -> bool:
    """Whether it is a placeholder for certain, and not one that may be meant."""
    return problem.kind == "placeholder" and problem.severity != "warning"


def set_answer(data: dict[str, Any], meaning: Meaning, old: str, new: str) -> bool:
    """Writes another answer into a row, where the answer stands as it is in one place.

    Args:
        data: The row; changed.
        meaning: What its columns mean.
        old: The answer that it has.
        new: The answer that it gets.

    Returns:
        Whether it was done.
    """
    places: list[tuple[dict[str, Any], str]]
    if meaning.format in ("messages", "sharegpt"):
        turns = [turn for turn in data.get(meaning.answer_column) or () if isinstance(turn, dict)]
        places = [(turn, key) for turn in turns for key in ("content", "value") if key in turn][-1:]
    elif meaning.format == "prompt_completion" and meaning.source.completion is not None:
        columns = used_columns(meaning)
        places = [(data, name) for name in data if name in (columns or data) and name in meaning.source.completion]
    else:
        places = [(data, meaning.answer_column)]
    places = [(holder, key) for holder, key in places if holder.get(key) == old]
    if len(places) != 1:
        return False
    holder, key = places[0]
    holder[key] = new
    return True


def _changes(values: Mapping[str, str]) -> dict[str, Callable[[Any], Any]]:
    """What each fix makes of the value of a column."""
    of_texts: dict[str, Callable[[str], str]] = {
        "encoding": mend_mojibake,
        "control_characters": remove_control_characters,
        "html": _html_unless_json,
        "special_tokens": remove_special_tokens,
        "placeholder": lambda text: fill_placeholders(text, values),
        "personal_data": mask_personal_data,
    }
    return {fix: partial(mapped, change=change) for fix, change in of_texts.items()} | {"whitespace": _plain}


def _html_unless_json(text: str) -> str:
    """Strips HTML, but not within JSON text, where a decoded quotation mark would end a string."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
        except json.JSONDecodeError:
            return strip_html(text)
        return text
    return strip_html(text)


def _plain(value: Any, *, strip: bool = True) -> Any:
    """Plain white space; the ends go of columns and of the texts of turns, not of parts of a text."""
    if isinstance(value, str):
        return plain_whitespace(value, strip=strip)
    if isinstance(value, list):
        return [_plain(item, strip=False) for item in value]
    if isinstance(value, dict):
        is_turn = "role" in value or "from" in value
        return {key: _plain(item, strip=is_turn and key in _TEXT_KEYS) for key, item in value.items()}
    return value
