"""Placeholders that nobody filled in: `{{name}}`, `${name}`, `{name}`, `[NAME]`, `<name>`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from weitiao.quality.findings import About, Found
from weitiao.quality.markup import has_code, looks_like_code, outside_code, prose
from weitiao.quality.settings import Severity

_CERTAIN = re.compile(r"\{\{\s*([A-Za-z_一-鿿][\w.\- 一-鿿]{0,40}?)\s*\}\}|\$\{([A-Za-z_]\w{0,40})\}")
_WORDS = (
    "NAME|NAMES|DATE|TIME|COMPANY|EMAIL|ADDRESS|PHONE|CITY|COUNTRY|TITLE|PRODUCT|LOCATION|NUMBER|USER|USERNAME|URL|LINK|"
    "CUSTOMER|AUTHOR|TOPIC|AMOUNT|PRICE|BRAND|PERSON|PLACE|SUBJECT|RECIPIENT|SENDER|POSITION|INSERT|YOUR|MY"
)
_LIKELY = re.compile(
    r"(?<![\w{$\\])\{([A-Za-z]{3,}\w{0,30})\}(?!\})"
    rf"|(?<![\w\]!])\[((?:[A-Z]+[_ ])*(?:{_WORDS})(?:[_ ][A-Z0-9]+)*|(?:[Yy]our|[Ii]nsert)[ _][^\]\n]{{1,30}})\](?!\()"
    r"|<((?:your|insert|user|first|last|full|company|product|customer|bot|model|assistant)[_-]?\w{0,20}|name|NAME|date"
    r"|DATE|[A-Z]{2,}_[A-Z_]{2,30})>"
)
_ABOUT_TEMPLATES = re.compile(
    r"template|placeholder|xml|html|jinja|mustache|handlebars|vue|latex|format string|f-string|\bform letter|regex|"
    r"正则|模板|占位符|宏",
    re.IGNORECASE,
)


def find_placeholders(text: str, about: About) -> Iterator[Found]:
    """Placeholders outside of code.

    `{{name}}` and `${name}` are errors, warnings where code stands in the text. The other forms also occur in texts
    that mean them (a letter with `[Your Name]`) and are warnings. Where the question is about templates, none is found.
    """
    if not any(mark in text for mark in "{[<") or _ABOUT_TEMPLATES.search(about.question):
        return
    plain = prose(text)
    certain = dict.fromkeys(match[0] for match in _CERTAIN.finditer(plain))
    level: Severity | None = "warning" if certain and has_code(text) else None
    for form in certain:
        yield Found(f"{form} is not filled in", severity=level)
    likely = dict.fromkeys(match[0] for match in _LIKELY.finditer(plain))
    if likely and not _is_latex(plain) and not looks_like_code(plain):
        for form in likely:
            yield Found(f"{form} is not filled in", severity="warning")


def fill_placeholders(text: str, values: Mapping[str, str]) -> str:
    """Fills placeholders in, outside of code.

    Args:
        text: The text of a turn.
        values: By name; names are compared without regard to case, in whichever form they stand.
    """
    if not values or not any(mark in text for mark in "{[<"):
        return text
    wanted = {name.casefold(): value for name, value in values.items()}

    def filled(match: re.Match[str]) -> str:
        return wanted.get(_name(match).casefold(), match[0])

    return outside_code(text, lambda prose: _LIKELY.sub(filled, _CERTAIN.sub(filled, prose)))


def names_in(text: str) -> list[str]:
    """The names of the placeholders in a text, each once."""
    found = [_name(match) for form in (_CERTAIN, _LIKELY) for match in form.finditer(text)]
    return list(dict.fromkeys(found))


def _name(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def _is_latex(text: str) -> bool:
    return "$" in text or "\\" in text or "^" in text
