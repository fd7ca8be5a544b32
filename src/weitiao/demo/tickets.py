"""The task of `weitiao demo`: customer messages to one line of JSON with five typed fields.

The rows are made from a seed, so nobody has to fetch anything, and every answer is right by construction. The
conventions that the answers follow, and that a model has to learn from the rows:

- `order`: letter, hyphen, five digits (`a-48213`, `A48213` and `#A-48213` are all `A-48213`); an order without a
  letter is its digits alone (`#48213` is `48213`).
- `product`: the catalogue's name, in the singular.
- `quantity`: an integer; messages write one to twelve in words as well.
- `date`: ISO. Wordings are unambiguous: the month by name, the year first, or day first with dots.
- `urgency`: `low`, `normal` or `high`. A message that says nothing about it is `normal`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from weitiao.files import write_lines
from weitiao.records import record_of

INSTRUCTION = (
    "Turn the customer message into one line of JSON with the keys order, product, quantity, date, "
    "urgency (low, normal or high)."
)
"""Stands in front of every message. It names the keys; the conventions are learned from the rows."""

_LETTERS = "ABCDEFGHKMPRSTX"
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_FIRST_DAY, _LAST_DAY = date(2025, 1, 1).toordinal(), date(2027, 12, 31).toordinal()
_MAX_QUANTITY = 40

Row = dict[str, str]
"""`instruction`, `input` and `output`: the alpaca format."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TicketData:
    """The three parts of the demo's data.

    Attributes:
        train: Rows in the training wording.
        validation: Further rows in the training wording.
        test: Rows in a wording that occurs in neither of the others.
    """

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    test: tuple[Row, ...]


def generate(num_train: int, num_validation: int, num_test: int, *, seed: int) -> TicketData:
    """Make the rows; no order number occurs twice, within a part or between parts.

    The test part is drawn first: it depends on `num_test` and `seed` alone, so scores of runs with different numbers
    of training rows compare.

    Args:
        num_train: Number of training rows.
        num_validation: Number of validation rows.
        num_test: Number of test rows.
        seed: The same seed gives the same rows under every Python version.

    Returns:
        The three parts.
    """
    # Only `random()` is used: its sequence is the one that Python promises never to change.
    source = random.Random(seed)
    used: set[str] = set()
    test = tuple(_row(source, TEST, used) for _ in range(num_test))
    validation = tuple(_row(source, TRAIN, used) for _ in range(num_validation))
    train = tuple(_row(source, TRAIN, used) for _ in range(num_train))
    return TicketData(train=train, validation=validation, test=test)


def write(data: TicketData, directory: Path) -> dict[str, Path]:
    """Write the parts as JSON Lines, one row a line.

    Args:
        data: What `generate` returned.
        directory: Made when it is not there; files of the same names are replaced.

    Returns:
        The paths by part: `train.jsonl`, `validation.jsonl` and `test.jsonl`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = {part.name: directory / f"{part.name}.jsonl" for part in fields(data)}
    for part, path in files.items():
        write_lines(path, getattr(data, part))
    return files


def _row(source: random.Random, wording: Wording, used: set[str]) -> Row:
    order, order_text = _order(source)
    while order in used:
        order, order_text = _order(source)
    used.add(order)
    product, quantity, items = _items(source)
    day = date.fromordinal(_below(source, _LAST_DAY - _FIRST_DAY + 1) + _FIRST_DAY)
    urgency = _pick(source, tuple(wording.urgency))
    answer = {
        "order": order,
        "product": product,
        "quantity": quantity,
        "date": day.isoformat(),
        "urgency": urgency,
    }
    sentence = _pick(source, wording.sentences).format(order=order_text, items=items, date=_date_text(source, day))
    if sentence.startswith(items):
        sentence = sentence[0].upper() + sentence[1:]
    phrase = _pick(source, wording.urgency[urgency])
    body = _join(" ", (phrase, sentence) if _below(source, 3) == 0 else (sentence, phrase))
    message = _join("\n", (_pick(source, wording.greetings), body, _pick(source, wording.closings)))
    return {"instruction": INSTRUCTION, "input": message, "output": json.dumps(answer, separators=(",", ":"))}


def _order(source: random.Random) -> tuple[str, str]:
    """An order number as the answer gives it and as the message writes it."""
    digits = str(10_000 + _below(source, 90_000))
    if _below(source, 4) == 0:
        return digits, f"#{digits}"
    letter = _pick(source, _LETTERS)
    order = f"{letter}-{digits}"
    return order, _pick(source, (order, order, f"#{order}", f"{letter}{digits}", order.lower()))


def _items(source: random.Random) -> tuple[str, int, str]:
    """A product, its quantity, and the two as the message writes them."""
    name, plural = _pick(source, PRODUCTS)
    in_words = _below(source, 2) == 0
    quantity = 1 + _below(source, len(_NUMBER_WORDS) if in_words else _MAX_QUANTITY)
    if in_words:
        number = _NUMBER_WORDS[quantity - 1]
    elif _below(source, 3) == 0:
        return name, quantity, f"{quantity} x {name}"
    else:
        number = str(quantity)
    return name, quantity, f"{number} {name if quantity == 1 else plural}"


def _date_text(source: random.Random, day: date) -> str:
    """One of the unambiguous ways to write a date; `strftime` would depend on the locale."""
    month = _MONTHS[day.month - 1]
    wordings = (
        f"{month} {day.day}, {day.year}",
        f"{month[:3]} {day.day}, {day.year}",
        f"{day.day} {month} {day.year}",
        f"{day.day} {month[:3]} {day.year}",
        f"{day.day:02}.{day.month:02}.{day.year}",
        f"{day.year}/{day.month:02}/{day.day:02}",
        day.isoformat(),
    )
    return _pick(source, wordings)


def _below(source: random.Random, bound: int) -> int:
    return int(source.random() * bound)


def _pick(source: random.Random, options: Sequence[T]) -> T:
    return options[_below(source, len(options))]


def _join(separator: str, parts: Sequence[str]) -> str:
    return separator.join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Wording:
    """One part's phrases; a message is made of one of each, chosen independently.

    Attributes:
        greetings: Beginnings; an empty one is left out of the message, as everywhere below.
        sentences: Templates with the fields `{order}`, `{items}` and `{date}`, each once.
        urgency: Phrases for each value of the answer's field `urgency`.
        closings: Endings.
    """

    greetings: tuple[str, ...]
    sentences: tuple[str, ...]
    urgency: dict[str, tuple[str, ...]]
    closings: tuple[str, ...]


_TEXTS: dict[str, Any] = json.loads((resources.files("weitiao.demo") / "wording.json").read_text(encoding="utf-8"))
TRAIN, TEST = (record_of(Wording, _TEXTS[part]) for part in ("train", "test"))
PRODUCTS: tuple[tuple[str, str], ...] = tuple((name, plural) for name, plural in _TEXTS["products"])
"""The catalogue: the name that the answer gives, and its plural."""
