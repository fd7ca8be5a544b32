"""The one note in `final/` that says what was tuned there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weitiao.errors import ModelError
from weitiao.models.directory import read_json_object

NOTE = "weitiao_base.json"
BELOW = "start"
"""In an adapter directory: the adapter that was merged into the base model before this one was trained."""


@dataclass(frozen=True, slots=True)
class Note:
    """What `final/` says about itself.

    Attributes:
        base: Name of the base model as the recipe has it.
        fingerprint: `model_fingerprint` of the base model.
        revision: Of a base model from the hub.
        method: Type of the method.
        template: Name of the chat template; `auto` is the base model's own.
        date: The day that the template prints, when it prints one.
    """

    base: str
    fingerprint: str
    revision: str | None = None
    method: str | None = None
    template: str | None = None
    date: str | None = None


def read_note(directory: Path) -> Note | None:
    """The note of a directory; None for an adapter that another tool wrote.

    Raises:
        ModelError: It is damaged.
    """
    path = directory / NOTE
    if not path.exists():
        return None
    note = read_json_object(path)
    if not (isinstance(note.get("base"), str) and isinstance(note.get("fingerprint"), str)):
        raise ModelError(f"{path} names no base model: it is damaged.", "Copy the adapter again.")
    return Note(**{key: value for key, value in note.items() if isinstance(value, str) and key in Note.__slots__})
