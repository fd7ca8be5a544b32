"""A conversation as texts to learn from: each answer behind the very prompt that will ask for it.

The prompt for an answer is what the template prints for the turns before it with `add_generation_prompt`: that is what
inference gives. What the model has to write is what the template prints of the answer when the conversation ends there.
Where a template rewrites earlier turns (it removes their reasoning, for instance), the conversation printed as a whole
holds neither, and each answer becomes a text of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from weitiao.data.example import Message
from weitiao.data.reading.rows import BadRow
from weitiao.rendering.printing import Place, Printer, marked_calls, squeezed, unused_character


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer as it is asked for.

    Attributes:
        message: Index of its message in the conversation.
        text: The prompt, and what the model has to write, up to and with the end-of-turn token.
        start: Length of the prompt in characters.
        inserted: What the template puts in front of the content where the prompt does not hold it, such as an empty
            think block or the header of the turn.
        opened: What the prompt holds beyond the printed conversation, such as a think tag, where the row's answer does
            not begin with it.
        restored: Whether the template prints only a part of the content, and the text has all of it.
    """

    message: int
    text: str
    start: int
    inserted: str = ""
    opened: str = ""
    restored: bool = False

    @property
    def written(self) -> str:
        """What the model has to write."""
        return self.text[self.start :]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text to learn from: that of an answer, with the earlier answers that stand in it as they were asked for.

    Attributes:
        text: The text.
        turns: The answers in it, in order.
        learned: Those of them that are learned in this text.
    """

    text: str
    turns: tuple[Turn, ...]
    learned: tuple[Turn, ...]


def leaves(turns: Sequence[Turn], learned: Collection[int]) -> list[Leaf]:
    """The fewest texts in which every learned answer stands behind its prompt.

    Args:
        turns: The answers that can be asked for, in order.
        learned: The messages to be learned.
    """
    ends: list[tuple[Turn, list[Turn]]] = []
    for turn in reversed([turn for turn in turns if turn.message in learned]):
        going_on = [found for end, found in ends if end.text.startswith(turn.text)]
        if going_on:
            going_on[-1].insert(0, turn)  # in the shortest of them
        else:
            ends.append((turn, [turn]))
    return [Leaf(end.text, standing(end.text, turns), tuple(found)) for end, found in reversed(ends)]


def standing(text: str, turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The answers with which a text begins just as they were asked for and written."""
    found: list[Turn] = []
    for turn in turns:
        if text.startswith(turn.text) and (not found or turn.start >= len(found[-1].text)):
            found.append(turn)
    return tuple(found)


def places(turns: Iterable[Turn]) -> list[int]:
    """Where a text is cut: before each answer and behind it."""
    return [place for turn in turns for place in (turn.start, len(turn.text))]


def asked_turns(printer: Printer, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> list[Turn]:
    """The answers of a conversation that can be asked for; others are passed over."""
    found = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            try:
                found.append(asked_turn(printer, messages, tools, index))
            except BadRow:
                continue
    return found


def asked_turn(printer: Printer, messages: Sequence[Message], tools: Sequence[dict[str, Any]], index: int) -> Turn:
    """An answer behind the prompt that asks for it.

    Args:
        printer: The chat template.
        messages: The conversation.
        tools: Its tool definitions.
        index: The message, an assistant's.

    Raises:
        BadRow: The template refuses the conversation or the prompt, does not print the answer or its tool calls, ends
            it in no special token, or prints it in a form that does not follow from the prompt or stands in it.
    """
    number, message, upto = index + 1, messages[index], messages[: index + 1]
    closed = printer.print(upto, tools)
    if message.get("tool_calls"):
        _require_tool_calls(printer, closed, upto, tools)
    place = printer.find(closed, upto, index, tools)
    if place is None:
        raise BadRow("", f"the chat template does not print message {number}, an answer")
    end = _end(printer, closed, place.end, calls=bool(message.get("tool_calls")))
    if end is None:
        raise BadRow(
            "",
            f"the chat template writes no end-of-turn token after message {number}, so a model could not learn to stop",
        )
    if index == 0:  # nothing asks for it
        return Turn(index, closed[:end], place.start)
    prompt = _prompt(printer, messages[:index], tools)
    content = message.get("content") or ""
    only = printer.find(closed, upto, index, tools, calls=False) if message.get("tool_calls") else place
    printed = closed[only.start : only.end] if only else ""
    removed = only is not None and _is_cut(closed, only, content)
    if closed[:end] == prompt:
        raise BadRow("", f"the prompt that the chat template prints for message {number}, an answer, has all of it")
    if closed[:end].startswith(prompt) and not removed:
        header = place.header or ""
        inserted = header[len(prompt) :] if header.startswith(prompt) and closed.startswith(header) else ""
        return Turn(index, closed[:end], len(prompt), inserted=inserted)
    return _behind(prompt, closed[:end], only or place, content if removed else printed, number)


def _is_cut(closed: str, place: Place, content: str) -> bool:
    """Whether the template prints only a part of the content."""
    printed = closed[place.start : place.end]
    if content.strip() in printed or squeezed(printed) not in squeezed(content):
        return False
    whole = squeezed(content)  # a part of it may be equal to what stands there with any content, an empty think block
    return squeezed(closed).count(whole) <= squeezed(place.marked).count(whole)


def _behind(prompt: str, closed: str, place: Place, content: str, number: int) -> Turn:
    """An answer behind a prompt that the printed conversation does not begin with, or that is printed in part."""
    header = place.header
    if header is None or not closed.startswith(header) or not (prompt.startswith(header) or header.startswith(prompt)):
        raise BadRow("", f"message {number}, an answer, does not follow from the prompt that the chat template prints")
    opened, rest = prompt[len(header) :], content
    if (core := opened.strip()) and content.lstrip().startswith(core):
        # The row brings what the prompt holds: it is not said twice.
        rest = content.lstrip()[len(core) :].removeprefix(opened[len(opened.rstrip()) :])
        opened = ""
    text = max(prompt, header, key=len) + rest + closed[place.end :]
    return Turn(
        number - 1,
        text,
        len(prompt),
        inserted=header[len(prompt) :],
        opened=opened,
        restored=content != closed[place.start : place.end],
    )


def _prompt(printer: Printer, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> str:
    try:
        prompt = printer.print(messages, tools, for_answer=True)
    except BadRow as error:
        reason = f"no prompt is printed for message {len(messages) + 1}, an answer: {error.reason}"
        raise BadRow("", reason) from error
    if not prompt:
        raise BadRow("", f"the chat template prints nothing as the prompt for message {len(messages) + 1}, an answer")
    return prompt


def _end(printer: Printer, text: str, content_end: int, *, calls: bool) -> int | None:
    """Where the end-of-turn token ends; text between the content and the token belongs to the turn."""
    close = printer.closing.match(text, content_end)
    if close is None or calls:
        close = printer.special.search(text, content_end)
    return close.end() if close else None


def _require_tool_calls(
    printer: Printer, closed: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
) -> None:
    calls = marked_calls(messages[-1]["tool_calls"], unused_character(closed))
    if printer.print([*messages[:-1], {**messages[-1], "tool_calls": calls}], tools) == closed:
        raise BadRow("", f"the chat template does not print the tool calls of message {len(messages)}")
