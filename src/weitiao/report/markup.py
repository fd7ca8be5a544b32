"""Texts as parts of a page, for the templates of the report and of the pages in a browser: imported in no time."""

from __future__ import annotations

from markupsafe import Markup, escape

from weitiao.text.wording import Wording


def with_code(text: str) -> Markup:
    """A text of a catalogue as part of a page, with what stands between two backticks as code.

    Texts with values in them do not go through it: backticks that a user wrote are backticks.
    """
    pieces = [escape(piece) for piece in text.split("`")]
    if len(pieces) % 2 == 0:  # a backtick without a partner is a backtick
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(pieces))


def shortened(text: str, limit: int) -> str:
    """A text cut to a length."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def prompt_name(prompt: str, words: Wording) -> str:
    """What a prompt is called: `zero-shot`, `8-shot random`."""
    shots, _, selection = prompt.partition("-shot")
    if not shots.isdigit():
        return words("prompt.zero") if prompt == "zero-shot" else prompt
    return words("prompt.shots", shots=shots, selection=words(f"selection.{selection.strip()}"))
