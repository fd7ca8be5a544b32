"""What happens to rows while they are rendered, compared with what they say: in numbers and in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from weitiao.data.example import LEARNING_MARKS, Example
from weitiao.errors import RenderingError
from weitiao.rendering.chat import Leaf, Turn
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.printing import Printer, squeezed
from weitiao.text.wording import Wording, told

_NUM_NAMED = 3

What = Literal[
    "dropped long", "truncated", "without target", "inserted", "opened", "restored", "rewritten", "reasoning ignored",
    "left out", "asked to learn", "second BOS", "special text", "windows",
]  # fmt: skip
"""What happens to a row; `_SENTENCES` say it."""

_SENTENCES: dict[What, str] = {
    "dropped long": "Dropped {2}: longer than {limit:,} tokens{why}.",
    "truncated": "Truncated {2} to {limit:,} tokens; the end-of-turn token is cut off with the end.",
    "windows": "Cut {1} into windows of at most {limit:,} tokens.",
    "without target": "Dropped {2}: no token of it is supervised.",
    "inserted": "The template puts {0!r} in front of the answer in {1}, and the prompt does not hold it: it is "
    "learned, and no part of an answer in evaluation and chat.",
    "opened": "The prompt ends in {0!r}, and the answer in {1} does not begin with it: it is learned behind it.",
    "restored": "The template prints an answer without a part of it, its reasoning for instance, in {1}: it is learned "
    "as the row has it.",
    "rewritten": "The template does not print an answer as it is written in {1}: its own form is learned.",
    "reasoning ignored": "The template does not print the reasoning that a turn has in a key of its own in {1}: it is "
    "not learned.",
    "left out": "The template does not print a turn of the role {0} in {1}.",
    "asked to learn": "Turns of other roles than the assistant's ask to be learned in {1}: they are not.",
    "second BOS": "Raw text begins with the BOS token that the tokenizer adds in {1}: there is one of it.",
    "special text": "The text of a special token, {0!r} for instance, stands in {1}: it becomes that token.",
}


@dataclass(slots=True)
class Rows:
    """How many rows something happened to, and the first of them.

    Attributes:
        rows: The rows.
        count: How often it happened; a row can give several sequences.
        first: The first row.
        example: What happened there: a text of the template, a role.
    """

    rows: int = 0
    count: int = 0
    first: str = ""
    example: str = ""
    _last: str = ""

    def add(self, row_id: str, example: str = "") -> None:
        """Count it; what happens to one row stands together."""
        self.count += 1
        self.rows += row_id != self._last
        self._last = row_id
        self.first = self.first or row_id
        self.example = self.example or example

    def __str__(self) -> str:
        return f"{counted(self.rows, 'row')} (the first is {self.first})"


@dataclass(slots=True)
class Tally:
    """Counts what happens to rows.

    Attributes:
        longest: Length of the longest sequence, in tokens.
        tools_ignored: Whether the template prints nothing of the tool definitions.
        refused: Row id and reason of each row that the template cannot render.
        rows: The rows by what happened to them.
        compared: Whether rows compare or judge answers: several sequences of a row are then what is meant.
    """

    longest: int = 0
    tools_ignored: bool = False
    refused: list[tuple[str, str]] = field(default_factory=list)
    rows: defaultdict[What, Rows] = field(default_factory=lambda: defaultdict(Rows))
    compared: bool = False

    def add(self, what: What, row_id: str, example: str = "") -> None:
        """Count what happens to a row.

        Args:
            what: It.
            row_id: The row.
            example: The text at hand, or the role.
        """
        self.rows[what].add(row_id, example)

    def refusal(self) -> RenderingError:
        """The error that names the first rows that cannot be rendered, and how many there are."""
        named = "; ".join(f"{row_id}: {reason}" for row_id, reason in self.refused[:_NUM_NAMED])
        count = len(self.refused)
        rest = f"; and {count - _NUM_NAMED:,} more" if count > _NUM_NAMED else ""
        return RenderingError(
            named if count == 1 else f"{named}{rest}. In all, {count:,} rows cannot be rendered.",
            "Correct the rows, set rendering.template to a template that takes them, or data.on_bad_rows: skip.",
        )

    def lines(
        self, sequences: Sequence[TokenSequence], *, num_examples: int, limit: int, on_long: str
    ) -> tuple[str, ...]:
        """Return the sentences that a user should read.

        Args:
            sequences: What was rendered.
            num_examples: Rows that were given.
            limit: Longest sequence allowed, in tokens.
            on_long: The policy for longer ones.
        """
        tokens = sum(len(sequence) for sequence in sequences)
        learned = sum(sequence.num_learned for sequence in sequences)
        several = len(sequences) > len({sequence.row_id for sequence in sequences})
        unit = "sequence" if several else "row"

        def rendered(words: Wording) -> str:
            counts = {"sequence": len(sequences), "row": num_examples, "token": tokens}
            numbers = {
                f"{noun}s": counted(count, noun) if words.language == "en" else words.count(count)
                for noun, count in counts.items()
            }
            longest = words(f"progress.longest.{unit}", longest=self.longest)
            return words("progress.rendered", **numbers, learned=learned, longest=longest)

        lines: list[str] = [told(rendered)]
        if several and "windows" not in self.rows and not self.compared:
            lines.append(_SEVERAL)
        if self.refused:
            row_id, reason = self.refused[0]
            lines.append(f"Left out {counted(len(self.refused), 'row')} that cannot be rendered: {row_id}: {reason}.")
        why = ", nothing to learn was left after truncation" if on_long == "truncate" else ""
        for what, sentence in _SENTENCES.items():
            if rows := self.rows.get(what):
                some = rows if rows.count == rows.rows else f"{counted(rows.count, 'sequence')} of {rows}"
                lines.append(sentence.format(rows.example, rows, some, limit=limit, why=why))
        if self.tools_ignored:
            lines.append("The template prints nothing of the tool definitions in the rows.")
        return tuple(lines)


_SEVERAL = (
    "Rows with several answers are several sequences where the template prints earlier turns in another way than it "
    "asked for them: each answer stands behind the prompt that will ask for it."
)


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


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
