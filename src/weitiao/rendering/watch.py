"""What a template does to a row, compared with what the row says: put into the tally."""

from __future__ import annotations

from collections.abc import Iterable

from weitiao.data.example import LEARNING_MARKS, Example
from weitiao.rendering.chat import Leaf, Turn
from weitiao.rendering.printing import Printer, squeezed
from weitiao.rendering.report import Tally

_REASONING = ("reasoning_content", "reasoning", "thinking")
"""What the reasoning of a turn is called; transformers hands each to the template under the others' names, too."""


def note_answers(tally: Tally, example: Example, turns: Iterable[Turn]) -> None:
    """Note how the answers that are learned differ from the row's."""
    for turn in turns:
        message = example.messages[turn.message]
        content = message.get("content") or ""
        # The prompt may hold the beginning of the answer, a think tag for instance.
        if not _holds(turn.text[max(0, turn.start - len(content)) :], content):
            tally.add("rewritten", example.row_id)
        if turn.restored:
            tally.add("restored", example.row_id)
        if turn.inserted.strip() and turn.written.startswith(turn.inserted):
            tally.add("inserted", example.row_id, turn.inserted)
        if turn.opened.strip():
            tally.add("opened", example.row_id, turn.opened)
        reasoning = [message[key] for key in _REASONING if isinstance(message.get(key), str)]
        if reasoning and not _holds(turn.text, reasoning[0]):
            tally.add("reasoning ignored", example.row_id)


def note_other_turns(tally: Tally, example: Example, printer: Printer, leaf: Leaf) -> None:
    """Note turns before the last answer that the template does not print, or that ask to be learned and are not."""
    last = leaf.learned[-1].message
    printed = ""
    for index, message in enumerate(example.messages[:last]):
        if message["role"] == "assistant":
            continue
        if any(message.get(key) for key in LEARNING_MARKS):
            tally.add("asked to learn", example.row_id)
        if _holds(leaf.text, message.get("content") or ""):
            continue
        upto = example.messages[: last + 1]
        printed = printed or printer.print(upto, example.tools)
        if printer.find(printed, upto, index, example.tools) is None:
            tally.add("left out", example.row_id, message["role"])


def _holds(text: str, part: str) -> bool:
    return part in text or squeezed(part) in squeezed(text)
