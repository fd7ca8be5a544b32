"""The recipe section `data.clean`: what `weitiao data clean` mends and drops."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weitiao.config import Config

FixName = Literal[
    "encoding",
    "empty_answer",
    "leak",
    "near_leak",
    "placeholder",
    "contradiction",
    "label_typo",
    "duplicate",
    "near_duplicate",
    "language",
    "html",
    "control_characters",
    "special_tokens",
    "personal_data",
    "long",
    "whitespace",
]
"""A kind of finding that can be mended, or whose rows can be dropped."""


class CleanConfig(Config):
    """What is mended in the training rows, and which of them are dropped. Files are never changed in place."""

    fix: tuple[FixName, ...] = ()
    """The kinds of findings to remove. Texts are mended for `encoding`, `control_characters`, `whitespace`, `html`,
    `special_tokens`, `personal_data`, `label_typo` and, with `placeholders`, `placeholder`; for the rest rows go."""

    placeholders: dict[str, str] = Field(default_factory=dict)
    """What to write for a placeholder, by its name: `name: weitiao` fills `{{name}}`. Rows with others stay as they are
    and are counted; without any value, rows with placeholders are dropped."""

    contradictions: Literal["drop", "majority"] = "drop"
    """Rows with one input and different labels: `drop` all of them, or keep those with the answer of the `majority`."""

    near_threshold: float = Field(default=0.8, ge=0.5, le=1.0, allow_inf_nan=False)
    """From which Jaccard similarity of their shingles on two rows are near duplicates, or a near leak."""

    max_characters: int = Field(default=32_000, ge=1)
    """Rows with more characters are dropped by the fix `long`."""
