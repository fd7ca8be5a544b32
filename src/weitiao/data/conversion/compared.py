"""Rows with a better and a worse answer, in the shapes of TRL, LLaMA-Factory and Anthropic's hh-rlhf, and rows with one
answer and a mark for good or bad, in those of TRL (`label`) and LLaMA-Factory (`kto_tag`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from weitiao.data.config import CanonicalField, FormatName, SourceConfig
from weitiao.data.example import Judged, Message, Preference
from weitiao.data.formats.conversations import parsed_json, role_of, to_messages
from weitiao.data.formats.detection import FORMATS, SIDES, detect
from weitiao.data.formats.formats import Converter, columns_of, required
from weitiao.data.reading.rows import BadRow, Row, kind_of

MARKS = ("kto_tag", "label")
EXTRAS: dict[CanonicalField, str] = {"system": "system", "tools": "tools"}
"""Fields that a recipe has to ask for beside `prompt` and `completion`, and that belong to rows of this kind."""

_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def _transcript(text: str, field: str) -> list[Message]:
    """The turns of a text in which they begin with `Human:` and `Assistant:` after a blank line (hh-rlhf).

    White space around a turn's text is the transcript's layout.
    """
    before, *parts = _SPEAKER.split(text)
    if before.strip() or not parts:
        raise BadRow(field, "has no prompt: there is no `prompt`, and it is no transcript that begins with `Human:`")
    speakers, texts = parts[0::2], parts[1::2]
    return [{"role": _ROLES[who], "content": said.strip()} for who, said in zip(speakers, texts, strict=True)]


def shared_beginning(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """Finds where two conversations part.

    Returns:
        The number of turns of the prompt: the common beginning, shortened so that both sides go on with an
        assistant's turn.

    Raises:
        BadRow: The two are the same, or there is no such beginning.
    """
    if list(chosen) == list(rejected):
        raise BadRow("rejected", "is the same as `chosen`")
    size = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        size += 1
    while size and not all(size < len(side) and side[size]["role"] == "assistant" for side in (chosen, rejected)):
        size -= 1
    if not size:
        raise BadRow("rejected", "does not begin like `chosen`: the two share no prompt that an answer follows")
    return size


class PreferenceReader:
    """Turns rows with `chosen` and `rejected` into preferences.

    Beside the two answers (text, a turn, or a list of turns) a row has `prompt`, or `conversations` or `messages`, or
    `instruction` with `input`, `system` and `history`; or none of these, when the answers are whole conversations
    that share a beginning.

    Args:
        path: The name of the source, for messages.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._converters: dict[tuple[FormatName, str], Converter] = {}

    def __call__(self, row: Row, row_id: str) -> Preference:
        """Converts one row.

        Args:
            row: The row as it was read; columns with other names already renamed.
            row_id: The identity that the preference gets.

        Raises:
            BadRow: The row could not be read, a field is missing, empty or of another type, the two answers are the
                same, or they share no prompt.
        """
        data = columns_of(row)
        for side in SIDES:
            required(data, side, side)
        format, data = _arranged(data)
        chosen, rejected = (self._side(format, side, Row(row.number, row.line, data), row_id) for side in SIDES)
        prompt, tools, columns = chosen[0], chosen[2], chosen[3]
        if chosen[1] == rejected[1]:
            raise BadRow("rejected", "is the same as `chosen`")
        return Preference(row_id, prompt, chosen[1], rejected[1], tools=tools, columns=columns)

    def _side(
        self, format: FormatName, side: str, row: Row, row_id: str
    ) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[dict[str, Any], ...], dict[str, Any]]:
        """Prompt, answer, tools and other columns, as the side gives them."""
        answer: CanonicalField = "output" if format == "alpaca" else "completion"
        named: dict[CanonicalField, str] = {answer: side}
        if format == "prompt_completion":
            named |= EXTRAS
        if (format, side) not in self._converters:
            self._converters[format, side] = Converter(SourceConfig(path=self._path, columns=named), format)
        try:
            example = self._converters[format, side](row, row_id)
        except BadRow as problem:
            raise BadRow(re.sub(rf"^{answer}\b", side, problem.field), problem.reason) from problem
        size = 1 if isinstance(row.data[side], str) else len(row.data[side])
        prompt, answers = example.messages[:-size], example.messages[-size:]
        if answers[0]["role"] != "assistant":
            raise BadRow(side, "must begin with an assistant turn")
        return prompt, answers, example.tools, {k: v for k, v in example.columns.items() if k not in SIDES}


def _arranged(row: dict[str, Any]) -> tuple[FormatName, dict[str, Any]]:
    """Brings a row into one of two layouts: prompt and answers, or the alpaca fields and answers."""
    row = {**row, **{side: [row[side]] if isinstance(row[side], dict) else row[side] for side in SIDES}}
    given = next((name for name in ("prompt", "conversations", "messages") if row.get(name) is not None), None)
    if given is None and row.get("instruction") is not None:
        return "alpaca", row
    if given in ("conversations", "messages"):
        turns = row.pop(given)
        row["prompt"] = parsed_json(turns, given) if isinstance(turns, str) else turns
        given = "prompt"
    if given is None or all(_is_whole(row[side]) for side in SIDES):
        row = _parted(row, row.get("prompt"))
    return "prompt_completion", row


def _is_whole(answer: Any) -> bool:
    """Whether an answer repeats the prompt: a list of turns that does not begin with the assistant's."""
    if not isinstance(answer, (list, tuple)) or not answer or not isinstance(answer[0], dict):
        return False
    role = answer[0].get("role") or answer[0].get("from")
    return role_of(role) in ("system", "user")


def _parted(row: dict[str, Any], prompt: Any) -> dict[str, Any]:
    """Divides two whole conversations into the prompt that they share and what follows."""
    given = (_transcript(row[side], side) if isinstance(row[side], str) else row[side] for side in SIDES)
    chosen, rejected = (to_messages(turns, side) for turns, side in zip(given, SIDES, strict=True))
    size = shared_beginning(chosen, rejected)
    beginning = chosen[:size]
    if isinstance(prompt, str):
        fits = prompt in [message["content"] for message in beginning]
    else:
        fits = prompt is None or to_messages(prompt, "prompt") == beginning[: len(prompt)]
    if not fits:
        raise BadRow("prompt", "is not what `chosen` and `rejected` begin with")
    return {**row, "prompt": list(beginning), "chosen": list(chosen[size:]), "rejected": list(rejected[size:])}


_MEANINGS: dict[int | str, bool] = {1: True, 0: False, "true": True, "false": False, "1": True, "0": False}


class JudgedReader:
    """Turns rows with a conversation and a mark into judged answers.

    Args:
        path: The name of the source, for messages.
        rows: The first rows, columns with other names already renamed; they tell which format the conversation has.
        shown: The name of the source for the message when no format fits.

    Raises:
        DataError: The conversation has no format that is known.
    """

    def __init__(self, path: str, rows: Sequence[Row], shown: str) -> None:
        names = {name for row in rows if isinstance(row.data, dict) for name in row.data}
        self._mark = next((mark for mark in MARKS if mark in names), "label")
        bare = [Row(row.number, row.line, self._unmarked(row.data), row.problem) for row in rows]
        self._format, source = detect(SourceConfig(path=path), bare, shown)
        named = EXTRAS if self._format == "prompt_completion" else {}
        self._columns = {**named, **source.columns}
        self._convert = Converter(SourceConfig(path=path, columns=self._columns), self._format)

    def __call__(self, row: Row, row_id: str) -> Judged:
        """Converts one row.

        Args:
            row: The row as it was read; columns with other names already renamed.
            row_id: The identity that the judged answer gets.

        Raises:
            BadRow: The row could not be read, the mark is no truth value, a field is missing, empty or of another
                type, or no turn comes before the answer.
        """
        data = columns_of(row)
        label = self._label(data)
        example = self._convert(Row(row.number, row.line, self._unmarked(data)), row_id)
        field = FORMATS[self._format].required[-1]
        if not example.messages or example.messages[-1]["role"] != "assistant":
            raise BadRow(field, "must end with an assistant turn")
        answer = data.get(self._columns.get("completion", "completion"))
        is_list = self._format == "prompt_completion" and isinstance(answer, list)
        size = len(answer) if is_list and answer is not None else 1
        prompt, completion = example.messages[:-size], example.messages[-size:]
        if not prompt:
            raise BadRow(field, "no turn comes before the answer")
        return Judged(row_id, prompt, completion, label, tools=example.tools, columns=example.columns)

    def _unmarked(self, data: Any) -> Any:
        return {name: value for name, value in data.items() if name != self._mark} if isinstance(data, dict) else data

    def _label(self, data: dict[str, Any]) -> bool:
        value = required(data, self._mark, self._mark)
        known = value.strip().lower() if isinstance(value, str) else value
        if not isinstance(known, (int, str)) or known not in _MEANINGS:
            said = f"`{value}`" if isinstance(value, (str, int)) else kind_of(value)
            raise BadRow(self._mark, f"must be true or false, is {said}")
        return _MEANINGS[known]


def is_mark(value: Any) -> bool:
    """Whether a value can only be a mark for good or bad: true or false, also as text."""
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false"))
