"""The canonical forms of one row of data: a conversation or raw text, a comparison of two answers, a judged answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Message = dict[str, Any]
"""One turn, as `transformers` chat templates take it: `role` (system, user, assistant or tool) and `content`, and
whatever else the row carried (`tool_calls`, `name`, ...). A user turn made from an alpaca row also has `instruction`
and `input`, for templates that print the two apart."""

LEARNING_MARKS = ("weight", "train", "loss")
"""What OpenAI, axolotl and ms-swift call the key of a turn that says whether it is learned: 1 or true, 0 or false."""


def is_learned(message: Message) -> bool:
    """Whether a turn may be learned: no key of it says that it is not."""
    return all(message.get(key, True) for key in LEARNING_MARKS)


@dataclass(frozen=True, slots=True)
class Example:
    """One row of data: a conversation, or raw text.

    Attributes:
        row_id: Where the row stands, `FILE:ROW`; unique within a data set, and what every message about it prints.
        messages: The turns; empty for raw text.
        text: Raw text, for training on every token; empty for a conversation.
        tools: Tool definitions that a chat template may print (JSON Schema objects, as OpenAI writes them).
        columns: Columns of the row that are no part of the conversation, for grouping scores.
        rejected: The turns of a worse answer, in a row that compares two: `messages` then ends with the better one.
        given: How many of the turns are the prompt, where answers are compared or judged; else 0.
        numbers: What such a row says in numbers, by name: `mark` (1 or -1), `margin`, `score`.
        steps: Of the last answer, where its steps are judged one by one: how many characters of it there are up to the
            last one of each step that is no white space; and its label, from 0, wrong, to 1, right, or NaN.
    """

    row_id: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)
    rejected: tuple[Message, ...] = ()
    given: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[tuple[int, float], ...] = ()

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the last assistant turn."""
        return self.messages[: self._last_answer()]

    @property
    def answer(self) -> str:
        """The content of the last assistant turn; empty when there is none."""
        last = self._last_answer()
        return str(self.messages[last]["content"] or "") if last < len(self.messages) else ""

    def _last_answer(self) -> int:
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index]["role"] == "assistant":
                return index
        return len(self.messages)


def conversation_text(messages: tuple[Message, ...]) -> str:
    """A prompt as text: the words of a single turn, or every turn with its role."""
    if len(messages) == 1:
        return str(messages[0]["content"] or "").strip()
    return "\n\n".join(f"{turn['role']}: {str(turn['content'] or '').strip()}" for turn in messages)


@dataclass(frozen=True, slots=True)
class Preference:
    """One prompt with a better and a worse answer.

    Attributes:
        row_id: Where the row stands, `FILE:ROW`.
        prompt: The turns before the answers, at least one.
        chosen: The better answer: turns that begin and end with the assistant's.
        rejected: The worse answer, likewise.
        tools: Tool definitions, as in `Example`.
        columns: Columns of the row that are no part of the conversation.
    """

    row_id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """One prompt with an answer that was found good or bad (Ethayarajh et al., 2024, https://arxiv.org/abs/2402.01306).

    Attributes:
        row_id: Where the row stands, `FILE:ROW`.
        prompt: The turns before the answer, at least one.
        completion: The answer: turns that end with the assistant's.
        label: Whether it is good.
        tools: Tool definitions, as in `Example`.
        columns: Columns of the row that are no part of the conversation.
    """

    row_id: str
    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    label: bool
    tools: tuple[dict[str, Any], ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)


Record = Example | Preference | Judged
"""One row of data in any of its canonical forms."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows a kind of learning takes.

    Attributes:
        record: `answer`: a conversation or raw text; `prompt`: a conversation whose answer may be missing; `pair`: a
            better and a worse answer; `mark`: an answer that was found good or bad; `step`: an answer in steps.
        numbers: Columns that hold a number which is learned from, by the name that it gets.
        separator: What joins steps to an answer.
        labelled: Whether steps have to have a label.
    """

    record: Literal["answer", "prompt", "pair", "mark", "step"] = "answer"
    numbers: Mapping[str, str] = field(default_factory=dict)
    separator: str = "\n"
    labelled: bool = True


ANSWERS = Rows()
PROMPTS = Rows("prompt")
STEPS = Rows("step")


def asked(example: Example) -> tuple[tuple[Message, ...], str]:
    """The turns that ask, and the answer that is expected: all of them and none, where no answer ends the row."""
    if example.messages and example.messages[-1]["role"] != "assistant":
        return example.messages, ""
    return example.prompt, example.answer


def as_answer(example: Example) -> Example:
    """A conversation up to its last answer, of which nothing else is learned."""
    given = len(example.prompt)
    return replace(example, messages=example.messages[: given + 1], given=given)


def sides(example: Example) -> tuple[Example, ...]:
    """The conversations that a row is learned from: one, or that with the better and that with the worse answer.

    Where answers are compared or judged, the turns before them are a prompt, and nothing in it is learned.
    """
    if not (example.given or example.rejected or example.numbers):
        return (example,)
    given = tuple(
        {**turn, "train": False} if turn["role"] == "assistant" else turn for turn in example.messages[: example.given]
    )
    answers = [example.messages[example.given :], *([example.rejected] if example.rejected else [])]
    return tuple(replace(example, messages=(*given, *answer), rejected=(), numbers={}) for answer in answers)
