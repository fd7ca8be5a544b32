"""The kinds of wrong answers, and what helps against each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "empty",
    "refusal",
    "rewritten",
    "cut_off",
    "wrong_language",
    "invalid_json",
    "wrong_keys",
    "wrong_value",
    "outside_labels",
    "other_label",
    "too_long",
    "wrong",
]
Remedy = Literal["prompt", "constraint", "tuning", "more data"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a kind is called and what addresses it.

    Attributes:
        title: For tables.
        remedies: What addresses it, the cheapest first: another prompt, a constraint on decoding or on the format,
            tuning on the rows that are there, more rows.
        advice: What can honestly be said about them.
    """

    title: str
    remedies: tuple[Remedy, ...]
    advice: str


MEANINGS: dict[Kind, Meaning] = {
    "empty": Meaning(
        "empty answer",
        ("prompt", "tuning"),
        "The model ends its turn at once: check the prompt with `weitiao show`, and if it is right, tuning on a few "
        "answered rows is enough to make it speak.",
    ),
    "refusal": Meaning(
        "refusal",
        ("prompt", "tuning"),
        "A system text that says what the task is for often helps; tuning on answered rows removes the rest, and "
        "more rows of the same kind do no more than few.",
    ),
    "rewritten": Meaning(
        "format: right, but with other words, case or marks",
        ("prompt", "constraint", "tuning"),
        "The model knows these answers: stricter wording, examples, constrained decoding or a laxer metric "
        "(evaluate.normalize) gets them without training.",
    ),
    "cut_off": Meaning(
        "cut off",
        ("prompt", "tuning"),
        "The limit of new tokens ended the answer: raise evaluate.generation.max_new_tokens if right answers are that "
        "long; an answer that rambles needs examples or tuning to learn where to stop.",
    ),
    "wrong_language": Meaning(
        "in another script",
        ("prompt", "tuning"),
        "Name the language of the answer in the system text; tuning fixes the rest only if the model knows the "
        "language at all.",
    ),
    "invalid_json": Meaning(
        "format: not valid JSON",
        ("constraint", "tuning"),
        "Decoding constrained to JSON makes every answer parse; whether the values are right is another question.",
    ),
    "wrong_keys": Meaning(
        "format: other keys than expected",
        ("prompt", "constraint", "tuning"),
        "Name the keys in the prompt, or constrain decoding to the schema; values that the model cannot find "
        "stay wrong.",
    ),
    "wrong_value": Meaning(
        "right keys, wrong values",
        ("prompt", "tuning", "more data"),
        "No constraint knows the values: write conventions down in the prompt where they can be said, and tune for the "
        "rest; the fields that are wrong most often say which rows to collect.",
    ),
    "outside_labels": Meaning(
        "no label of the set",
        ("prompt", "constraint", "tuning"),
        "A constraint on decoding turns each into some label, not into the right one; tuning teaches the set and the "
        "choice together.",
    ),
    "other_label": Meaning(
        "another label of the set",
        ("tuning", "more data"),
        "The model knows the set and chooses wrongly: tuning, with more rows of the classes that are confused; a "
        "constraint changes nothing here.",
    ),
    "too_long": Meaning(
        "far longer than any expected answer",
        ("prompt", "tuning"),
        "Say in the prompt how long an answer may be, or show examples; tuning learns the length quickly.",
    ),
    "wrong": Meaning(
        "otherwise wrong",
        ("tuning", "more data"),
        "Format and language are right and the content is not: tuning helps as far as the rows show what is missing, "
        "and knowledge that is in neither the model nor the rows does not come from it.",
    ),
}
"""Every kind, in the order in which they are looked for."""
