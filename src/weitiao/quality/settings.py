"""What a check looks for: the kinds of findings, with severity and remedy, its limits, and what cannot run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal, NamedTuple

from weitiao.errors import DataError

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

LEFT_OUT = ("format", "empty_answer")
"""Kinds of rows with which no training learns: with `data.on_bad_rows: skip` they are left out."""

EXTRA = "data"
NEEDS: Mapping[str, str] = {
    "encoding": "ftfy",
    "label_typo": "rapidfuzz",
    "personal_data": "stdnum",
    "language": "py3langid",
}
"""The module that a check needs, and that the extra `data` brings."""

_WITHOUT = {
    "encoding": "mojibake is not looked for; bytes that are not UTF-8 are",
    "language": "languages of one script are not told apart; scripts are",
}


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """The limits of a check.

    Attributes:
        kinds: Which kinds to look for.
        near_threshold: Rows whose shingles have at least this Jaccard similarity are near duplicates.
        max_characters: A row with more characters is `long`, where no tokenizer counts.
        max_tokens: A row with more tokens is `long`, where a tokenizer counts.
        special_tokens: The special tokens of the tokenizer in use.
    """

    kinds: frozenset[str] = field(default_factory=lambda: frozenset(KINDS))
    near_threshold: float = 0.8
    max_characters: int = 32_000
    max_tokens: int | None = None
    special_tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = self.kinds - KINDS.keys()
        if unknown:
            raise DataError(f"There is no check {', '.join(sorted(unknown))}.", f"The checks are {', '.join(KINDS)}.")

    def available(self, kind: str) -> bool:
        """Whether a kind is looked for and what it needs is installed."""
        return kind in self.kinds and not (kind in NEEDS and find_spec(NEEDS[kind]) is None)

    def left_out(self) -> dict[str, str]:
        """The kinds that were asked for and cannot be looked for, each with the reason."""
        reasons = {}
        for kind, module in NEEDS.items():
            if kind in self.kinds and find_spec(module) is None:
                what = f"; {_WITHOUT[kind]}" if kind in _WITHOUT else ""
                reasons[kind] = f"the package {module} is not installed (pip install 'weitiao[{EXTRA}]'){what}"
        return reasons
