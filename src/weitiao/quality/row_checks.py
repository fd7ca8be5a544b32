"""All checks that look at one row alone: the order of its turns, its texts, its answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

from weitiao.data.example import Message
from weitiao.quality.characters import find_control_characters, find_mojibake, find_personal_data, find_whitespace
from weitiao.quality.findings import About, Found, Problem
from weitiao.quality.language import find_other_language, load_identifier
from weitiao.quality.markup import find_html, find_placeholders, find_special_tokens, looks_like_code
from weitiao.quality.settings import CheckSettings
from weitiao.quality.subject import Subject

_LEAST_LATIN, _LEAST_HAN = 200, 60
_LEAST_LAST_LINE = 60
_HAN = re.compile("[\u3400-\u9fff]")
_OPEN_END = re.compile(r"(?:[\w,;:(\[{，；：、（《“‘]|\b(?:and|or|the|of|to|a)\s*)$")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•+|#>]|\d{1,3}[.)、]|[A-Za-z][.)])")
_REFUSAL = re.compile(
    r"\s*(?:(?:i(?:['’]m| am) (?:very |really |truly )?sorry|sorry|apologies|i apologi[sz]e|unfortunately)\b.{0,60}?\b"
    r"(?:i (?:can(?:['’]?t|not)|am (?:not able|unable)|won['’]?t|do not have|don['’]t have)|as an ai)"
    r"|i (?:can(?:['’]?t|not)|won['’]?t|am unable to|am not able to) (?:help|assist|provide|create|write|generate|"
    r"do that|fulfil|comply|engage|support|answer)"
    r"|as an? (?:ai|artificial intelligence|language model|large language model|virtual assistant)\b"
    r"|(?:很|非常)?(?:抱歉|对不起|不好意思).{0,20}?(?:无法|不能|不可以|没有办法|做不到|不支持)"
    r"|(?:我)?(?:无法|不能)(?:回答|提供|协助|帮助|满足|执行|完成)"
    r"|作为(?:一个|一名|一款)?(?:人工智能|AI|语言模型|大型语言模型|机器人))",
    re.IGNORECASE | re.DOTALL,
)
_SEEN_FOR_REFUSAL = 200


def find_empty(answer: str, _: About) -> Iterator[Found]:
    """An answer of characters that nobody sees; white space alone is found when the row is read."""
    if len(answer) < 20 and answer and all(unicodedata.category(char)[0] in "CZ" for char in answer):
        yield Found("the answer has only invisible characters")


def find_truncated(answer: str, _: About) -> Iterator[Found]:
    """A long answer in prose that ends in the middle of a sentence, or within a code block.

    An ending counts as open when a letter, a digit, a comma or an opening bracket stands last in a last line of 60
    characters or more that is no item of a list. Short answers, labels, lists and code often end so and are let alone.
    """
    text = answer.rstrip()
    if len(text) < _LEAST_HAN:
        return
    han = len(_HAN.findall(text[-_LEAST_LATIN:])) * 2 > min(len(text), _LEAST_LATIN)
    if len(text) < (_LEAST_HAN if han else _LEAST_LATIN):
        return
    if text.count("```") % 2:
        yield Found("the answer ends within a code block", f"…{text[-120:]}")
        return
    if not _OPEN_END.search(text[-8:]):
        return
    line = text[text.rfind("\n") + 1 :]
    if len(line) < _LEAST_LAST_LINE // (2 if han else 1) or _LIST_ITEM.match(line) or looks_like_code(text):
        return
    last_word = line.rsplit(maxsplit=1)[-1]
    # A line without spaces is no sentence; hashtags, addresses and numbers often stand last on purpose.
    if not han and (" " not in line or last_word[0] in '#@*_"' or "/" in last_word or "=" in last_word):
        return
    yield Found("the answer stops in mid-sentence", f"…{text[-120:]}")


def find_refusal(answer: str, _: About | None = None) -> Iterator[Found]:
    """An answer that begins with a refusal, or with the phrases of an assistant that speaks of itself."""
    if _REFUSAL.match(answer[:_SEEN_FOR_REFUSAL]):
        yield Found("the answer refuses, or speaks as an AI")


_FOLLOWS = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "assistant that calls a tool": ("tool",),
    "tool": ("tool", "assistant"),
}
"""Which roles may follow which; the empty one is the beginning. Many chat templates refuse anything else."""


def find_disorder(messages: Sequence[Message], *, has_answer: bool) -> Iterator[Problem]:
    """The first turn of a conversation that does not belong where it stands.

    Args:
        messages: The turns.
        has_answer: Whether the conversation must end with an answer.
    """
    last = ""
    for index, message in enumerate(messages):
        role = message["role"]
        if role not in _FOLLOWS[last]:
            place = f"follows a turn of the role {last}" if last else "is the first turn"
            yield Problem("role_order", f"a turn of the role {role} {place}", f"turn {index + 1}")
            return
        last = "assistant that calls a tool" if message.get("tool_calls") else role
    if has_answer and messages and not last.startswith("assistant"):
        yield Problem("role_order", f"the conversation ends with a turn of the role {last}", f"turn {len(messages)}")


Find = Callable[[str, About], Iterator[Found]]
TEXT_CHECKS: dict[str, Find] = {
    "encoding": find_mojibake,
    "control_characters": find_control_characters,
    "html": find_html,
    "special_tokens": find_special_tokens,
    "placeholder": find_placeholders,
    "personal_data": find_personal_data,
    "whitespace": find_whitespace,
}
"""Kinds that any text may have, in the order in which they are mended."""
ANSWER_CHECKS: dict[str, Find] = {
    "empty_answer": find_empty, "truncated": find_truncated, "refusal": find_refusal,
}  # fmt: skip


class RowChecks:
    """The checks of single rows that were asked for and can run here.

    Args:
        settings: What to look for.
        has_answers: Whether the rows shall have answers.
    """

    def __init__(self, settings: CheckSettings, *, has_answers: bool = True) -> None:
        self._settings = settings
        self._has_answers = has_answers
        # Scripts are compared without the identifier, too.
        self._on = {kind for kind in settings.kinds if settings.available(kind) or kind == "language"}
        identifier = load_identifier() if settings.available("language") else None
        language: Find = lambda answer, about: find_other_language(about.question, answer, identifier)  # noqa: E731
        self._of_answers = {**ANSWER_CHECKS, "language": language}

    def __call__(self, subject: Subject) -> list[Problem]:
        """The problems of one row, in the order of its turns."""
        settings = self._settings
        problems = [subject.problem] if subject.problem is not None else []
        about = About("\n".join(subject.inputs) if not subject.text else "", settings.special_tokens)
        texts = list(subject.texts())
        for _, field, text in texts:
            problems += self._found(TEXT_CHECKS, text, field, about)
        if subject.messages and subject.problem is None and "role_order" in self._on:
            problems += find_disorder(subject.messages, has_answer=self._has_answers)
        if subject.answer:
            problems += self._found(self._of_answers, subject.answer, "answer", about)
        size = sum(len(text) for _, _, text in texts)
        if settings.max_tokens is None and size > settings.max_characters:
            limit = f"more than {settings.max_characters:,} characters"
            problems.append(Problem("long", limit, "", f"{size:,} characters"))
        return [problem for problem in problems if problem.kind in settings.kinds]

    def _found(self, checks: Mapping[str, Find], text: str, field: str, about: About) -> Iterator[Problem]:
        for kind, find in checks.items():
            if kind in self._on:
                for found in find(text, about):
                    yield Problem(kind, found.reason, field, found.example or text, found.severity)
