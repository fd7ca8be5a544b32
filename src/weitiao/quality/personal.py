"""Personal data: e-mail addresses, phone, card and identity numbers, IBANs. Check digits are verified by stdnum."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weitiao.quality.findings import About, Found

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
