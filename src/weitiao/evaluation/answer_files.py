"""Answers on disk: one line each, found again by what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weitiao.data.example import Example
from weitiao.errors import RunError
from weitiao.evaluation.answers import Prediction
from weitiao.files import sha256, writable, write_json, write_lines
from weitiao.generation.config import GenerationConfig
from weitiao.json_text import lines_of
from weitiao.records import first_problem, record_of

_REMEDY = "Write it again with `weitiao eval`."
_KEY_SUFFIX = ".key.json"
_NO_INFLUENCE = {"batch_size", "token_budget", "share_prefixes"}
_GREEDY_NO_INFLUENCE = {"seed", "top_k", "top_p"}


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions, one line each, in one step."""
    write_lines(path, map(asdict, predictions))


def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """The predictions of a `predictions.jsonl`.

    Raises:
        RunError: The file is not there, or a line of it is no prediction.
    """
    found: list[Prediction] = []
    try:
        for line in lines_of(path):
            found.append(record_of(Prediction, json.loads(line)))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.", _REMEDY) from error
    except ValueError as error:
        where = f"{path}, line {len(found) + 1}"
        raise RunError(f"{where}, is no prediction: {first_problem(error)}.", _REMEDY) from error
    return tuple(found)


@dataclass(frozen=True, slots=True)
class AnswersKey:
    """All that answers depend on.

    Attributes:
        settings: Hash of weights, number format and generation settings.
        rows: Hash of row id, expected answer and prompt tokens of every row (and of its place, when answers are drawn,
            because the random numbers depend on it).
    """

    settings: str
    rows: tuple[str, ...]

    @property
    def name(self) -> str:
        """A short name for all of it."""
        return _hashed([self.settings, *self.rows])[:12]


@dataclass(frozen=True, slots=True)
class _Note(AnswersKey):
    """What lies beside a file of predictions: its key, and the hash of the file that it is the key of."""

    sha256: str


def answers_key(
    weights: str,
    dtype: str,
    examples: Sequence[Example],
    prompts: Sequence[Sequence[int]],
    generation: GenerationConfig,
) -> AnswersKey:
    """What the answers of a model to some rows depend on.

    Args:
        weights: Hash of base model and adapter.
        dtype: Number format of the weights.
        examples: The rows.
        prompts: Their prompts to the token.
        generation: How answers are written; settings that change none are left out.
    """
    greedy = generation.temperature == 0
    settings = generation.model_dump(mode="json", exclude=_NO_INFLUENCE | (_GREEDY_NO_INFLUENCE if greedy else set()))
    rows = (
        _hashed([example.row_id, example.answer, list(prompt), None if greedy else place])[:16]
        for place, (example, prompt) in enumerate(zip(examples, prompts, strict=True))
    )
    return AnswersKey(_hashed([weights, dtype, settings]), tuple(rows))


def note_key(predictions: Path, key: AnswersKey) -> None:
    """Note beside a file of predictions what its answers were made from, so that `find_answers` finds them.

    The note holds the hash of the file as well: when the file is replaced without it, it is not believed any more.
    """
    note = _Note(key.settings, key.rows, sha256(predictions))
    write_json(predictions.with_name(predictions.stem + _KEY_SUFFIX), note)


def find_answers(
    files: Iterable[Path], key: AnswersKey, examples: Sequence[Example]
) -> tuple[Path, list[Prediction]] | None:
    """The first of some files of predictions that has all these answers, and perhaps more.

    Args:
        files: Where to look, in this order.
        key: What the answers were made from.
        examples: The rows of the key.

    Returns:
        The file, and the answers in the order of the rows, not graded yet; None when there is no such file.
    """
    for path in files:
        note = _read_note(path.with_name(path.stem + _KEY_SUFFIX))
        if note is None or note.settings != key.settings or not path.is_file():
            continue
        places = {row: place for place, row in enumerate(note.rows)}
        if all(row in places for row in key.rows) and note.sha256 == sha256(path):
            found = read_predictions(path)
            answers = [found[places[row]] for row in key.rows]
            return path, [
                Prediction.of(example, one.answer, num_tokens=one.num_tokens, stopped=one.stopped)
                for example, one in zip(examples, answers, strict=True)
            ]
    return None


def keep_answers(path: Path, predictions: Iterable[Prediction], key: AnswersKey | None) -> None:
    """Write predictions with what they were made from, so that `find_answers` finds them.

    Raises:
        RunError: The directory cannot be written.
    """
    with writable(path.parent, "The answers"):
        write_predictions(path, predictions)
        if key is not None:
            note_key(path, key)


def _read_note(path: Path) -> _Note | None:
    """A note; None when there is none, or when it was cut off or edited."""
    try:
        return record_of(_Note, json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def _hashed(value: list[Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
