"""What texts hold that should not be learned: unseen characters, mojibake, lost bytes, and personal data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from weitiao.data.reading.opening import BAD_BYTES
from weitiao.quality.findings import About, Found

# The joiners U+200C and U+200D are not among them: Persian and emoji need them. Nor are tab and line breaks.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ue000-\uf8ff]"
)
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_LINE_BREAK = re.compile("\r\n?|[\u2028\u2029\x85]")
_TRAILING = re.compile("[ \t]+(?=\n)")
_MANY_BREAKS = re.compile("\n{4,}")
_NAMES = {"\u200b": "zero-width space", "\ufeff": "byte order mark", "\u00ad": "soft hyphen"}


def find_control_characters(text: str, _: About) -> Iterator[Found]:
    """Control characters, and those that change nothing but the tokens: zero-width spaces, marks of direction, ..."""
    for char in dict.fromkeys(_CONTROL.findall(text)):
        private = unicodedata.category(char) == "Co"
        name = _NAMES.get(char, "private use" if private else unicodedata.name(char, "control character").lower())
        at = text.index(char)
        reason = f"holds U+{ord(char):04X} ({name})" if not private else "holds characters of private use"
        yield Found(reason, text[max(0, at - 40) : at + 40])


def remove_control_characters(text: str) -> str:
    """The text without them."""
    return _CONTROL.sub("", text)


def find_whitespace(text: str, _: About) -> Iterator[Found]:
    """Spaces that are not U+0020, carriage returns, and white space at the ends of a text."""
    if not text.isascii() and _ODD_SPACE.search(text):
        yield Found("holds non-breaking or other odd spaces")
    if "\r" in text or (not text.isascii() and _LINE_BREAK.search(text)):
        yield Found("holds line breaks other than \\n")
    if text != text.strip():
        yield Found("begins with white space" if text[0].isspace() else "ends with white space")


def plain_whitespace(text: str, *, strip: bool) -> str:
    """The text with plain spaces and line breaks, none at the ends of lines, and at most two empty lines in a row.

    Args:
        text: The text.
        strip: Whether white space at its ends goes, too.
    """
    text = _LINE_BREAK.sub("\n", _ODD_SPACE.sub(" ", text))
    text = _MANY_BREAKS.sub("\n\n\n", _TRAILING.sub("", text))
    return text.strip() if strip else text


_HAN = re.compile("[\u4e00-\u9fff]")
# What the first bytes of UTF-8 become in the encodings that ftfy undoes: Latin, Greek and Cyrillic letters, signs of
# Mac Roman and of code page 437.
_POSSIBLE = re.compile("[\u0080-\u0530\u221a\u2500-\u259f]")


def find_mojibake(text: str, _: About) -> Iterator[Found]:
    """Text such as `cafÃ©`, and characters that stand for lost bytes.

    A text counts as mojibake when ftfy's heuristic finds an unlikely sequence in it *and* undoing the wrong decoding
    gives another text.
    """
    import ftfy
    from ftfy.badness import is_bad

    if text.isascii():
        return
    if "\ufffd" in text:
        yield Found("holds U+FFFD: text that an earlier step could not decode is lost", severity="warning")
    if _POSSIBLE.search(text) and is_bad(text) and ftfy.fix_encoding(text) != text:
        yield Found("mojibake: UTF-8 that was read as another encoding", severity="warning")


def mend_mojibake(text: str) -> str:
    """The text that mojibake came from, as ftfy finds it."""
    import ftfy

    return text if text.isascii() else ftfy.fix_encoding(text)


def mend_bytes(text: str) -> str:
    """Decodes bytes that were not UTF-8, kept as lone surrogates, by the most likely of the usual other ways.

    These are, in this order: emoji as two surrogates of three bytes each (CESU-8), as Java and MySQL write them;
    GB 18030, when what comes out is mostly Chinese; Windows-1252.

    Args:
        text: A text with lone surrogates U+DC80 to U+DCFF.
    """
    from ftfy import bad_codecs

    bad_codecs.ok()

    def decoded(match: re.Match[str]) -> str:
        data = match[0].encode("utf-8", errors="surrogateescape")
        for codec in ("utf-8-variants", "gb18030"):
            try:
                result = data.decode(codec)
            except UnicodeDecodeError:
                continue
            if codec != "gb18030" or len(_HAN.findall(result)) * 2 > len(result):
                return result
        return data.decode("sloppy-windows-1252")

    return BAD_BYTES.sub(decoded, text)


_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w@])"
)
# RFC 2606 keeps these names for examples.
_EXAMPLE_DOMAIN = re.compile(
    r"@(?:[\w.-]+\.)?(?:example\.(?:com|org|net)|[\w-]+\.(?:example|test|invalid|localhost))$", re.I
)
_NUMBER = re.compile(r"(?<![\w.+/-])[+(]?\d[\d ()./-]{6,24}\d[Xx]?(?![\w/]|[.,-]\d)")
_CHINESE_MOBILE = re.compile(r"(?:(?:\+|00)86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}")
_AMERICAN = re.compile(r"(?:\+?1[ .-]?)?\(?[2-9]\d{2}\)?[ .-]\d{3}[ .-]\d{4}")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)")
_CARD_DIGITS = re.compile(r"(?:4\d{12}(?:\d{3})?|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|62\d{14,17}|6011\d{12})")

NAMES = {
    "e-mail": "an e-mail address",
    "phone number": "a phone number",
    "card number": "a payment card number",
    "id number": "a Chinese identity number",
    "IBAN": "an IBAN",
}


def find_personal_data(text: str, _: About) -> Iterator[Found]:
    """One problem per sort of personal data in a text; the example shows it masked, since reports are passed on."""
    found = dict.fromkeys(sort for _, _, sort in _spans(text))
    if found:
        masked = mask_personal_data(text)
        for sort in found:
            at = masked.index(f"[{sort} removed]")
            yield Found(f"holds {NAMES[sort]}", masked[max(0, at - 60) : at + 60])


def mask_personal_data(text: str) -> str:
    """The text with `[e-mail removed]` and the like in place of personal data."""
    parts, last = [], 0
    for start, end, sort in _spans(text):
        parts += [text[last:start], f"[{sort} removed]"]
        last = end
    return "".join([*parts, text[last:]]) if parts else text


def _spans(text: str) -> list[tuple[int, int, str]]:
    """Start, end and sort of what was found, in order and apart from each other."""
    spans: list[tuple[int, int, str]] = []
    if "@" in text:
        spans += [(*m.span(), "e-mail") for m in _EMAIL.finditer(text) if not _EXAMPLE_DOMAIN.search(m[0])]
    for match in _IBAN.finditer(text):
        if _is_iban(match[0]):
            spans.append((*match.span(), "IBAN"))
    for match in _NUMBER.finditer(text):
        if sort := _sort_of_number(match[0]):
            spans.append((*match.span(), sort))
    spans.sort()
    apart: list[tuple[int, int, str]] = []
    for span in spans:
        if not apart or span[0] >= apart[-1][1]:
            apart.append(span)
    return apart


def _sort_of_number(text: str) -> str:
    from stdnum import luhn
    from stdnum.cn import ric

    digits = re.sub(r"\D", "", text)
    compact = digits + (text[-1].upper() if text[-1] in "xX" else "")
    # Card and identity numbers have four digits or more between two marks: `2021-10-15` has not.
    if len(compact) == 18 and re.sub(r"[ -]", "", text).upper() == compact and ric.is_valid(compact):
        return "id number"
    in_groups = all(len(group) >= 4 for group in re.split(r"[ -]", text)[:-1])
    if _CARD_DIGITS.fullmatch(digits) and in_groups and len(set(digits)) > 1 and luhn.is_valid(digits):
        return "card number"
    if _CHINESE_MOBILE.fullmatch(text) or _AMERICAN.fullmatch(text):
        return "phone number"
    if text.startswith("+") and 9 <= len(digits) <= 15 and digits[0] != "0":
        return "phone number"
    return ""


def _is_iban(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))
