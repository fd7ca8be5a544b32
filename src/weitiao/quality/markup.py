"""Debris in texts: HTML where text is meant, special tokens, and placeholders that nobody filled in."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping

from weitiao.quality.findings import About, Found
from weitiao.quality.settings import Severity

_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.DOTALL)
# Code in Markdown is let alone: what looks like debris is meant there.

_TAG = re.compile(
    r"</?(?:a|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|form|h[1-6]|head|hr|html|i|iframe|img|input|li|"
    r"link|meta|ol|p|pre|script|small|span|strong|style|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|u|ul)"
    r"(?:\s[^<>]{0,300})?/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(
    r"&(?:nbsp|amp|lt|gt|quot|apos|mdash|ndash|hellip|rsquo|lsquo|ldquo|rdquo|#\d{2,6}|#x[0-9a-f]{2,5});"
)
_ABOUT_MARKUP = re.compile(
    r"html|xml|css|javascript|\bweb ?page|\bweb ?site|\btags?\b|markup|react|vue|svg|网页|标签|网站|前端|转义",
    re.IGNORECASE,
)
_BREAKING = re.compile(r"</?(?:br|p|div|li|tr|h[1-6]|ul|ol|table)\b[^<>]*>", re.IGNORECASE)
_UNSEEN = re.compile(r"<(script|style)\b[^>]*>.*?</\1>", re.IGNORECASE | re.DOTALL)

_SPECIAL = re.compile(
    r"<\|[A-Za-z][\w ./-]{0,40}\|>|<｜[^｜\n]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|mask)>|<(?:start|end)_of_turn>"
    r"|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|MASK|gMASK|sMASK|UNK|PAD)\]|<(?:im_start|im_end|endoftext)>"
)


def prose(text: str) -> str:
    """A text without its code blocks."""
    return _CODE.sub(" ", text) if "`" in text or "~~~" in text else text


def find_html(text: str, about: About) -> Iterator[Found]:
    """Tags and entities outside of code, unless the question is about markup."""
    if ("<" not in text and "&" not in text) or _ABOUT_MARKUP.search(about.question):
        return
    plain = prose(text)
    for what, pattern in (("tags", _TAG), ("entities", _ENTITY)):
        if (found := pattern.search(plain)) is not None:
            yield Found(f"holds HTML {what}", plain[max(0, found.start() - 40) : found.end() + 40])


def strip_html(text: str) -> str:
    """The text that a browser would show: entities decoded, tags gone, a newline for a break; code stays as it is."""
    if "<" not in text and "&" not in text:
        return text
    stripped = outside_code(text, _stripped)
    return stripped if stripped == text else stripped.strip("\n")


def _stripped(text: str) -> str:
    text = _BREAKING.sub("\n", _UNSEEN.sub("", text)) if _TAG.search(text) else text
    return _ENTITY.sub(lambda m: html.unescape(m[0]).replace("\xa0", " "), _TAG.sub("", text))


def find_special_tokens(text: str, about: About) -> Iterator[Found]:
    """Text of special tokens of common models, or of the tokenizer's own: it becomes that token and may end a turn."""
    common = _SPECIAL.findall(text) if "<" in text or "[" in text else []
    for token in dict.fromkeys([*common, *(token for token in about.special_tokens if token in text)]):
        yield Found(f"holds the text {token}")


def remove_special_tokens(text: str) -> str:
    """The text without the texts of special tokens."""
    return _SPECIAL.sub("", text) if "<" in text or "[" in text else text


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with a change of what is not code in Markdown."""
    parts, last = [], 0
    for match in _CODE.finditer(text):
        parts += [change(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*parts, change(text[last:])])


_CODE_LINE = re.compile(
    r"^\s*(?:def \w|class \w+[:({]|import \w|from \w+ import|function\b.*[({]|#include\b|using namespace|public |"
    r"private |return\b|if ?\(|for ?\(|while ?\(|for \w+ in |SELECT\b|INSERT INTO|UPDATE \w+ SET|CREATE TABLE|"
    r"FROM \w+$|WHERE\b|<[/!a-zA-Z][^>]*>$|\$ |[{}\])];?$|\w+(?:\.\w+)*\(.*\);?$|[\w.\[\]]+ ?=[^=].*|//|@\w+$)"
)


def looks_like_code(text: str) -> bool:
    """Whether a text is a program or data rather than prose: JSON, or half of its lines read like code."""
    plain = text.strip()
    if plain[:1] + plain[-1:] in ("{}", "[]"):
        return True
    lines = [line for line in plain.splitlines() if line.strip()]
    return bool(lines) and 2 * sum(1 for line in lines if _CODE_LINE.match(line)) >= len(lines)


def has_code(text: str) -> bool:
    """Whether code stands among the prose: a fenced block, or two lines that read like code."""
    return "```" in text or sum(1 for line in text.splitlines() if _CODE_LINE.match(line)) >= 2


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
