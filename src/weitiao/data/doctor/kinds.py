"""What the doctor looks for: one entry per kind of finding, with its severity and what to do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        severity: What a finding of this kind has when the check says nothing else. An error makes `check` exit with 3.
        meaning: What it is, in a few words.
        remedy: What to do about it.
        fixable: Whether `weitiao data clean --fix KIND` removes it.
    """

    severity: Severity
    meaning: str
    remedy: str
    fixable: bool = True


KINDS: dict[str, Kind] = {
    "format": Kind(
        "error",
        "rows that cannot be read or used",
        "Correct the rows, or say what the columns mean (--input, --output, or a recipe).",
        fixable=False,
    ),
    "encoding": Kind("error", "bytes that are not UTF-8, and mojibake", "Re-encode the file with iconv, or --fix it."),
    "empty_answer": Kind("error", "answers without any text", "Fill the answers in, or drop the rows with --fix."),
    "leak": Kind(
        "error",
        "training rows whose input stands in held-out or evaluation data",
        "Drop them from the training data with --fix; every score on that evaluation set is worthless otherwise.",
    ),
    "near_leak": Kind(
        "warning",
        "training rows almost like an input of held-out or evaluation data",
        "Look at them; --fix drops them from the training data.",
    ),
    "placeholder": Kind(
        "error", "placeholders that nobody filled in", "--fix placeholder --set name=VALUE fills them; else rows go."
    ),
    "role_order": Kind(
        "error", "turns in an order that chat templates refuse", "Correct the order of the turns.", fixable=False
    ),
    "contradiction": Kind(
        "warning",
        "different answers to one input",
        "Decide on one answer; --fix drops them all, or keeps the majority (--contradictions majority).",
    ),
    "label_typo": Kind(
        "warning", "rare labels spelled almost like a frequent one", "Rename them; --fix maps them to the frequent one."
    ),
    "duplicate": Kind("warning", "rows whose input came before", "--fix keeps the first of equal rows."),
    "near_duplicate": Kind("warning", "rows almost like an earlier one", "--fix keeps the first of them."),
    "language": Kind(
        "warning", "answers in another language than the question", "Look at them; --fix drops the rows with warnings."
    ),
    "truncated": Kind("warning", "answers that stop in mid-sentence", "Complete the answers.", fixable=False),
    "html": Kind("warning", "HTML tags and entities", "--fix unescapes entities and strips tags."),
    "control_characters": Kind("warning", "control and invisible characters", "--fix removes them."),
    "special_tokens": Kind(
        "warning", "text that a tokenizer reads as a special token", "--fix removes it; the model would see the token."
    ),
    "personal_data": Kind(
        "warning",
        "e-mail addresses, phone, card and identity numbers",
        "--fix masks them; models repeat what they saw.",
    ),
    "long": Kind("warning", "rows longer than the limit", "Shorten them, raise the limit, or drop them with --fix."),
    "refusal": Kind("info", "answers that refuse", "Keep them only if the model shall refuse.", fixable=False),
    "whitespace": Kind("info", "odd spaces, and white space around texts", "--fix makes them plain."),
}
"""In the order in which reports list them: errors first, then what is most often worth a look."""

FIXABLE = tuple(name for name, kind in KINDS.items() if kind.fixable)
