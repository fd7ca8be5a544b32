"""What is said in English and in Chinese: texts from catalogues, and how numbers are written in them."""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Callable
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any, Literal

from weitiao.errors import Phrase

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
Table = dict[str, str]
Said = dict[Language, str]
"""What something says in each language."""


@cache
def table_of(language: Language) -> Table:
    """All texts of a language, by key: those of all its files, in which each key stands once."""
    files = sorted((resources.files("weitiao.text") / "catalogues" / language).iterdir(), key=lambda file: file.name)
    tables: list[Table] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return dict(ChainMap(*tables))


_TOLD = ("reason", "more", "kind")
"""What in a form is a reason again. All else is the user's: a column may be called `text`."""


@cache
def _forms(language: Language) -> list[tuple[re.Pattern[str], str]]:
    """The forms of reasons, each with its text: the most special ones first, those that begin with a value last."""
    forms = [key.removeprefix("form.") for key in table_of(language) if key.startswith("form.")]
    pieces = {form: list(Formatter().parse(form)) for form in forms}
    forms.sort(key=lambda form: (form.startswith("{"), -sum(len(text) for text, *_ in pieces[form])))
    return [
        (
            re.compile(
                "".join(re.escape(text) + (f"(?P<{name}>.+?)" if name else "") for text, name, *_ in pieces[form])
            ),
            table_of(language)[f"form.{form}"],
        )
        for form in forms
    ]


class Wording:
    """Texts and numbers in one language.

    Args:
        language: Which.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self._table = table_of(language)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key, with values put in.

        Raises:
            KeyError: There is no such text, or a value that it names is missing.
        """
        return self._table[key].format(**values)

    def named(self, kind: str, name: str) -> str:
        """What something is called: the text of `KIND.NAME`, or the name itself where it is one of the user's."""
        return self._table.get(f"{kind}.{name}", name)

    def described(self, docstring: str, *keys: str) -> str:
        """The text of the first of these keys that there is, or the docstring, of which catalogues have no copy."""
        return next((self._table[key] for key in keys if key in self._table), " ".join(docstring.split()))

    def phrase(self, text: object) -> str:
        """What is said in English, by that (`phrase.*`), where there is a text for it; else in English.

        What came through a file or from a library is no phrase any more: it is known by its form (`form.*`).
        """
        template, values = (text.template, text.values) if isinstance(text, Phrase) else (str(text), {})
        if (found := self._table.get(f"phrase.{template}")) is None:
            return self._by_form(str(text))
        return found.format(**{name: self._value(value) for name, value in values.items()}) if values else found

    def _value(self, value: object) -> object:
        return self.phrase(value) if isinstance(value, Phrase) else value

    def _by_form(self, text: str) -> str:
        for form, found in _forms(self.language):
            if told := form.fullmatch(text):
                values = {name: self.phrase(one) if name in _TOLD else one for name, one in told.groupdict().items()}
                return found.format(**values)
        return text

    def line(self, text: str) -> str:
        """A line that was told, in this language where it knows itself in it."""
        return text.said[self.language] if isinstance(text, Told) else text

    def share(self, value: float) -> str:
        """A share: `84.3%`."""
        return f"{value:.1%}"

    def points(self, value: float) -> str:
        """A difference of shares, with its sign: `+12.5 points`."""
        return self("unit.points", value=signed(100 * value, 1))

    def nats(self, value: float, *, with_sign: bool = False) -> str:
        """A loss: `1.234 nats`."""
        return self("unit.nats", value=signed(value, 3) if with_sign else f"{value:.3f}")

    def count(self, value: float) -> str:
        """A whole number: `12,345`."""
        return f"{round(value):,}"

    def loss(self, value: float) -> str:
        """A loss without its unit, in four digits: `1.234`, `0.01234`."""
        return f"{value:.4g}"

    def duration(self, seconds: float) -> str:
        """A time: `0.4 s`, `8 s`, `3 min 20 s`, `2 h 5 min`."""
        if seconds < 9.95:
            return self("unit.seconds", seconds=f"{seconds:.1f}")
        whole = round(seconds)
        if whole < 60:
            return self("unit.seconds", seconds=whole)
        if whole < 3600:
            return self("unit.minutes", minutes=whole // 60, seconds=whole % 60)
        return self("unit.hours", hours=whole // 3600, minutes=whole % 3600 // 60)

    def size(self, num_bytes: float) -> str:
        """Memory: `3.1 GiB`, `640 MiB`."""
        if num_bytes < 2**30:
            return f"{num_bytes / 2**20:.0f}\N{NO-BREAK SPACE}MiB"
        return f"{num_bytes / 2**30:.1f}\N{NO-BREAK SPACE}GiB"

    def p_value(self, value: float) -> str:
        """A p-value: `p = 0.031`, `p < 0.001`."""
        text = "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
        return text.replace(" ", "\N{NO-BREAK SPACE}")


def said(say: Callable[[Wording], str]) -> Said:
    """What something says in each language, on lines that may be torn anywhere."""
    return {language: say(Wording(language)).replace("\N{NO-BREAK SPACE}", " ") for language in LANGUAGES}


class Told(str):
    """A line in English that knows itself in every language: to whoever hands lines on, or keeps them, it is a text."""

    said: Said


def told(say: Callable[[Wording], str]) -> Told:
    """A line for people who may speak any of the languages."""
    texts = said(say)
    line = Told(texts["en"])
    line.said = texts
    return line


def signed(value: float, digits: int) -> str:
    """With a true minus, and no sign on what rounds to zero."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if not text.strip("+−0.") else text
