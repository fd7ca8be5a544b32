"""What a chat template prints, and where in it a message stands, whatever the template does.

A template is a program: it may trim contents, insert text, rewrite earlier turns, move the system text, or refuse. So
nothing is assumed about it. What it made of a message is found by printing the conversation again with another content
in that place: the two texts agree up to the content and from its end on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from weitiao.data.example import Message
from weitiao.data.reading.rows import BadRow
from weitiao.errors import RenderingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Place(NamedTuple):
    """Where a message stands in a printed conversation.

    Attributes:
        start, end: Of what the template made of the content (and of the tool calls, where these were varied, too).
        marked: The conversation as it is printed with a single character, the mark, for the content.
        mark: The mark.
    """

    start: int
    end: int
    marked: str
    mark: str

    @property
    def header(self) -> str | None:
        """What the template prints before the content of any message in this place; None when it prints no content."""
        header, found, _ = self.marked.partition(self.mark)
        return header if found else None


class Printer:
    """A tokenizer's chat template, and the texts of its special tokens.

    Attributes:
        special: Matches a token that is marked as special.
        closing: Matches any token that was added to the vocabulary, with white space before it; runs of white space,
            which some vocabularies add as tokens, are left out.

    Args:
        tokenizer: With its chat template.
        where: What errors call the first conversation, a row for instance.

    Raises:
        RenderingError: The tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: str = "the conversation") -> None:
        if tokenizer.chat_template is None:
            raise RenderingError(
                f"{where}: a conversation needs a chat template, and this tokenizer has none.",
                "Set rendering.template to alpaca, chatml or the path of a .jinja file.",
            )
        self._tokenizer = tokenizer
        self.special = special_tokens(tokenizer)
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.content.strip()}
        self.closing = re.compile(rf"\s*(?:{any_of(added | set(tokenizer.all_special_tokens)).pattern})")

    def print(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = (), *, for_answer: bool = False
    ) -> str:
        """Print a conversation.

        Args:
            messages: The turns.
            tools: Tool definitions that the template may print.
            for_answer: Whether to end in the prompt for the next answer.

        Raises:
            BadRow: The template refuses the conversation or fails on it.
        """
        try:
            text = self._tokenizer.apply_chat_template(
                list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=for_answer
            )
        except Exception as error:
            reason = _reason(error)
            raise BadRow("", f"the chat template cannot print this conversation: {reason}") from error
        assert isinstance(text, str)
        return text

    def find(
        self, text: str, messages: Sequence[Message], index: int, tools: Sequence[dict[str, Any]], *, calls: bool = True
    ) -> Place | None:
        """Find a message in what the template printed.

        Args:
            text: What it printed of the messages.
            messages: The turns.
            index: The message that is looked for.
            tools: Tool definitions.
            calls: Whether to find its tool calls as well as its content.

        Returns:
            Its place; None when the text would be the same with any other content.
        """
        mark = unused_character(text)
        varied = [*messages]
        varied[index] = _with_content(varied[index], mark, calls=calls)
        marked = self.print(varied, tools)
        if marked == text:
            return None
        return Place(*_difference(text, marked, mark), marked, mark)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """A pattern that matches the text of a token that is marked as special."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return any_of(special | set(tokenizer.all_special_tokens))


def any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches the longest of the texts that stands at a place; of no texts, it never matches."""
    longest_first = sorted((text for text in texts if text), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def squeezed(text: str) -> str:
    """The text without white space, which templates add and trim."""
    return re.sub(r"\s+", "", text)


def unused_character(text: str) -> str:
    """A character for private use that the text does not contain."""
    private = map(chr, chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE)))
    return next(character for character in private if character not in text)


def marked_calls(calls: Sequence[dict[str, Any]], mark: str) -> list[dict[str, Any]]:
    """Tool calls of the same form with the mark for names and arguments."""
    marked = []
    for call in calls:
        function = call.get("function", call)
        arguments = mark if isinstance(function.get("arguments"), str) else {mark: mark}
        function = {**function, "name": mark, "arguments": arguments}
        marked.append({**call, "function": function} if "function" in call else function)
    return marked


def _with_content(message: Message, content: str, *, calls: bool) -> Message:
    # An alpaca question stands in its message a second time, as instruction and input.
    same = {key: content for key in ("instruction", "input") if message.get(key)}
    varied = {**message, "content": content, **same}
    if calls and message.get("tool_calls"):
        varied["tool_calls"] = marked_calls(message["tool_calls"], content)
    return varied


def _reason(error: Exception) -> str:
    import jinja2

    text = (str(error).strip().splitlines() or [""])[0]
    # What a template says itself (`raise_exception`) stands alone; of a failure, the kind says most.
    return text if text and isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _difference(text: str, marked: str, mark: str) -> tuple[int, int]:
    """The part of `text` that `marked` does not have, as the longest common beginning and end leave it."""
    first, last = marked.find(mark), marked.rfind(mark)
    head, tail = marked[: max(first, 0)], marked[last + 1 :]
    # Nearly always the texts agree right up to the mark on both sides; comparing slices is fast.
    if first >= 0 and len(head) + len(tail) <= len(text) and text.startswith(head) and text.endswith(tail):
        return len(head), len(text) - len(tail)
    begin = common_prefix(text, marked)
    return begin, len(text) - min(common_prefix(text[::-1], marked[::-1]), len(text) - begin)


def common_prefix(one: Sequence[object], other: Sequence[object]) -> int:
    """How many elements two sequences begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))
