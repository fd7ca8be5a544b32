"""The question that a judge model is asked about two answers."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from weitiao.data.example import Message, conversation_text
from weitiao.errors import DataError
from weitiao.feedback.config import JudgeConfig
from weitiao.feedback.items import PreferenceItem
from weitiao.feedback.store import Order

LETTERS = ("A", "B")

# What all questions share comes first, then what both orders of an item share: it is computed once.
_ENGLISH = """\
Two answers to the same request are compared. The better one is more correct, more helpful and closer to what was \
asked. Neither length nor order matters.

[Request]
{prompt}

[Answer A]
{first}

[Answer B]
{second}

Which answer is better? Reply with one letter only: A or B."""

_CHINESE = """\
请比较对同一请求的两个回答。更好的回答更正确、更有帮助、更符合要求；长短和先后顺序都不影响判断。

【请求】
{prompt}

【回答 A】
{first}

【回答 B】
{second}

哪个回答更好？只回复一个字母：A 或 B。"""

_FIELD = re.compile(r"\{(prompt|first|second)\}")
_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_LETTER = re.compile(r"(?<![A-Za-z0-9])[AB](?![A-Za-z0-9'])")


@dataclass(frozen=True, slots=True)
class Question:
    """A template with the fields `{prompt}`, `{first}` and `{second}`.

    Attributes:
        name: `en`, `zh`, or a hash of the user's own text: it is part of the judge's name.
        text: The template.
    """

    name: str
    text: str

    def ask(self, item: PreferenceItem, order: Order) -> tuple[Message, ...]:
        """The turns to be put to the judge about an item, with its answers in this order."""
        first, second = item.shown(order)
        values = {"prompt": conversation_text(item.messages), "first": first.strip(), "second": second.strip()}
        # in one pass, so that braces in an answer are left alone
        return ({"role": "user", "content": _FIELD.sub(lambda match: values[match[1]], self.text)},)


def read_question(config: JudgeConfig) -> Question:
    """The question of a judge: a built-in one, or that of the user's file.

    Raises:
        DataError: The file cannot be read, or lacks a field.
    """
    if config.template is None:
        return Question(config.language, _ENGLISH if config.language == "en" else _CHINESE)
    text = _read(config.template)
    found = _FIELD.findall(text)
    if sorted(found) != ["first", "prompt", "second"]:
        raise DataError(
            f"{config.template}: a question to a judge holds {{prompt}}, {{first}} and {{second}} once each; "
            f"found were {', '.join(found) or 'none'}.",
            "Put the three fields where the request and the answers A and B belong.",
        )
    return Question(hashlib.sha256(text.encode()).hexdigest()[:8], text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.") from error


def letter_in(reply: str) -> str | None:
    """The letter that a written reply names; None when it names none, or both.

    What stands between `<think>` and `</think>` does not count.
    """
    text = _THOUGHTS.sub("", reply).strip()
    alone = text.strip(" \t\r\n.。!！*`\"'()[]（）【】:：").upper()
    if alone in LETTERS:
        return alone
    found = set(_LETTER.findall(text))
    return found.pop() if len(found) == 1 else None
