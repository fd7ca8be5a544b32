"""The few exception types that a user sees.

Every message says what is wrong and where (file:line or row, field) in its first line, and what to do in its
second. The command line prints them without a traceback and exits with code 2; anything else is a bug.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Phrase(str):
    """A text in English made of a template and values: by the template, catalogues have it in other languages.

    Args:
        template: As `str.format` takes it; a plain text is its own.
        values: What is put in; phrases among them are translated, too.
    """

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, **values: object) -> Phrase:
        phrase = super().__new__(cls, template.format(**values) if values else template)
        phrase.template, phrase.values = template, values
        return phrase


def joined(phrases: Sequence[Phrase], between: str) -> Phrase:
    """Phrases, at least one, in a row: `between` says how two of them, `{one}` and `{other}`, stand together."""
    return reduce(lambda one, other: Phrase(between, one=one, other=other), phrases)


class WeitiaoError(Exception):
    """A problem that the user can solve.

    Args:
        what: What is wrong and where; one line, whatever names and values of users stand in it.
        remedy: What to do about it. Both are phrases, or plain texts, where other languages shall have them.
    """

    exit_code = 2

    def __init__(self, what: str, remedy: str) -> None:
        what = what if len(what.splitlines()) < 2 else " ".join(what.splitlines())
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}"


class RecipeError(WeitiaoError):
    """The recipe, or an override on the command line, cannot be used."""


class DataError(WeitiaoError):
    """A data file, or a row of it, cannot be used."""


class RenderingError(WeitiaoError):
    """An example cannot be turned into tokens."""


class ModelError(WeitiaoError):
    """A model, a tokenizer or an adapter cannot be loaded or does not fit."""


class TrainingError(WeitiaoError):
    """Training cannot go on: a non-finite loss, for instance."""


class RunError(WeitiaoError):
    """A run directory cannot be used: taken by another process, damaged, or of another recipe."""


class MissingExtraError(WeitiaoError):
    """A feature needs an optional package.

    Args:
        feature: What the user asked for.
        extra: The extra of this project that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            Phrase("{feature} needs an optional package.", feature=feature),
            Phrase("Install it with: pip install 'weitiao[{extra}]'", extra=extra),
        )
