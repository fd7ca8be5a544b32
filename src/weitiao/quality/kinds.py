"""What a check looks for: one entry per kind of finding, with its severity and what to do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        severity: What a finding of this kind has when the check says nothing else. An error makes `check` exit with 3.
        meaning: What it is, in a few words.
        remedy: What to do about it; where it is fixable, the command follows.
        fixable: Whether `weitiao data clean --fix KIND` removes it.
        exact: Whether that loses nothing that belongs into the data, so that it can be done without a look.
        options: Further options of that command.
    """

    severity: Severity
    meaning: str
    remedy: str
    fixable: bool = True
    exact: bool = False
    options: str = ""


KINDS: dict[str, Kind] = {
    "format": Kind(
        "error",
        "rows that cannot be read or used",
        "Correct the rows, or say what the columns mean (--input, --answer, or a recipe).",
        fixable=False,
    ),
    "encoding": Kind(
        "error", "bytes that are not UTF-8, and mojibake", "Re-encode the file with iconv; or mend the texts:"
    ),
    "empty_answer": Kind("error", "answers without any text", "Fill the answers in; or drop the rows:"),
    "leak": Kind(
        "error",
        "training rows whose input stands in held-out or evaluation data",
        "Every score on that evaluation set is worthless. Drop them from the training data:",
        exact=True,
    ),
    "near_leak": Kind(
        "warning",
        "training rows almost like an input of held-out or evaluation data",
        "Look at them; drop them from the training data:",
    ),
    "placeholder": Kind(
        "error", "placeholders that nobody filled in", "Fill them in (without --set, their rows are dropped):"
    ),
    "role_order": Kind(
        "error", "turns in an order that chat templates refuse", "Correct the order of the turns.", fixable=False
    ),
    "contradiction": Kind(
        "warning",
        "different answers to one input",
        "Decide on one answer; or keep the most frequent one (--contradictions drop: none):",
        options="--contradictions majority",
    ),
    "label_typo": Kind(
        "warning", "rare labels spelled almost like a frequent one", "Look at them; rename them to the frequent one:"
    ),
    "duplicate": Kind("warning", "rows that came before", "Keep the first of equal rows:", exact=True),
    "near_duplicate": Kind("warning", "rows almost like an earlier one", "Look at them; keep the first of them:"),
    "language": Kind(
        "warning", "answers in another language than the question", "Look at them; drop the rows with warnings:"
    ),
    "truncated": Kind("warning", "answers that stop in mid-sentence", "Complete the answers.", fixable=False),
    "html": Kind("warning", "HTML tags and entities", "Unescape entities and strip tags:"),
    "control_characters": Kind("warning", "control and invisible characters", "Remove them:", exact=True),
    "special_tokens": Kind(
        "warning",
        "text that a tokenizer reads as a special token",
        "The model would see the token. Remove the text:",
    ),
    "personal_data": Kind(
        "warning",
        "e-mail addresses, phone, card and identity numbers",
        "Models repeat what they saw. Mask them:",
    ),
    "long": Kind("warning", "rows longer than the limit", "Shorten them, or raise the limit; or drop them:"),
    "refusal": Kind("info", "answers that refuse", "Keep them only if the model shall refuse.", fixable=False),
    "whitespace": Kind("info", "odd spaces, and white space around texts", "Make them plain:", exact=True),
}
"""In the order in which reports list them: errors first, then what is most often worth a look."""

FIXABLE = tuple(name for name, kind in KINDS.items() if kind.fixable)
