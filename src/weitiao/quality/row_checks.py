"""All checks that look at one row alone, and the order of its turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weitiao.data.example import Message
from weitiao.quality.answers import find_empty, find_refusal, find_truncated
from weitiao.quality.characters import find_control_characters, find_mojibake, find_whitespace
from weitiao.quality.findings import Problem
from weitiao.quality.language import Identifier, find_other_language, load_identifier
from weitiao.quality.markup import find_html, find_special_tokens
from weitiao.quality.personal import find_personal_data
from weitiao.quality.placeholders import find_placeholders
from weitiao.quality.settings import CheckSettings
from weitiao.quality.subject import Subject

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


class RowChecks:
    """The checks of single rows that were asked for and can run here.

    Args:
        settings: What to look for.
        has_answers: Whether the rows shall have answers.
    """

    def __init__(self, settings: CheckSettings, *, has_answers: bool = True) -> None:
        self._settings = settings
        self._has_answers = has_answers
        self._on = {kind for kind in settings.kinds if settings.available(kind)}
        self._identifier: Identifier | None = load_identifier() if "language" in self._on else None

    def __call__(self, subject: Subject) -> list[Problem]:
        """The problems of one row, in the order of its turns."""
        problems = [subject.problem] if subject.problem is not None else []
        question = "\n".join(subject.inputs) if not subject.text else ""
        for _, field, text in subject.texts():
            problems += self._of_text(text, field, question)
        problems += self._of_answer(subject, question)
        size = sum(len(text) for _, _, text in subject.texts())
        if self._settings.max_tokens is None and size > self._settings.max_characters:
            limit = f"more than {self._settings.max_characters:,} characters"
            problems.append(Problem("long", limit, "", f"{size:,} characters"))
        return [problem for problem in problems if problem.kind in self._settings.kinds]

    def _of_text(self, text: str, field: str, question: str) -> Iterator[Problem]:
        on = self._on
        if "encoding" in on:
            yield from find_mojibake(text, field)
        if "control_characters" in on:
            yield from find_control_characters(text, field)
        if "whitespace" in on:
            yield from find_whitespace(text, field)
        if "html" in on:
            yield from find_html(text, field, question=question)
        if "special_tokens" in on:
            yield from find_special_tokens(text, field, self._settings.special_tokens)
        if "placeholder" in on:
            yield from find_placeholders(text, field, question=question)
        if "personal_data" in on:
            yield from find_personal_data(text, field)

    def _of_answer(self, subject: Subject, question: str) -> Iterator[Problem]:
        on = self._on
        if subject.messages and subject.problem is None and "role_order" in on:
            yield from find_disorder(subject.messages, has_answer=self._has_answers)
        answer = subject.answer
        if not answer:
            return
        if "empty_answer" in on:
            yield from find_empty(answer)
        if "truncated" in on:
            yield from find_truncated(answer)
        if "refusal" in on:
            yield from find_refusal(answer)
        if "language" in self._settings.kinds:
            # Scripts are compared without the identifier, too.
            yield from find_other_language(question, answer, self._identifier)
