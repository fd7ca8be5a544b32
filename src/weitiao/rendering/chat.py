"""A conversation as text, and where the assistant's turns stand in it, whatever the chat template does.

A template is a program: it may trim contents, insert text, rewrite earlier turns or move the system text. So nothing
is assumed about it. What it made of a message is found by printing the conversation again with another content in
that place: the two texts agree up to the content and from its end on. Where an answer starts is what the template
itself prints as the prompt for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from weitiao.data.example import Message
from weitiao.errors import RenderingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Turn:
    """Where an assistant turn stands in the text of its conversation, as character offsets.

    Attributes:
        message: Index of its message in the conversation.
        start: The first character that the model has to write: the end of the prompt that it gets at inference.
        content_end: Behind what the template made of the content and the tool calls.
        end: Behind the end-of-turn token; None when the template writes none.
    """

    message: int
    start: int
    content_end: int
    end: int | None

    @property
    def stop(self) -> int:
        """The end of the turn, with its end-of-turn token when there is one."""
        return self.content_end if self.end is None else self.end


class SpecialTokens:
    """The texts of a tokenizer's special tokens, as patterns.

    Attributes:
        special: Matches a token that is marked as special.
        closing: Matches any token that was added to the vocabulary, with white space before it; runs of white space,
            which some vocabularies add as tokens, are left out.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tokens = tokenizer.added_tokens_decoder.values()
        special = {token.content for token in tokens if token.special} | set(tokenizer.all_special_tokens)
        self.special = any_of(special)
        added = any_of({token.content for token in tokens if token.content.strip()} | special)
        self.closing = re.compile(rf"\s*(?:{added.pattern})")


def any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches the longest of the texts that stands at a place; of no texts, it never matches."""
    longest_first = sorted((text for text in texts if text), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


class Chat:
    """A conversation under a tokenizer's chat template.

    Args:
        tokenizer: Prints the conversation with its chat template.
        messages: The turns.
        tools: Tool definitions that the template may print.
        special_tokens: Of the same tokenizer.
        where: The row that errors name.
        for_answer: Whether the text ends in the generation prompt.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        special_tokens: SpecialTokens,
        where: str,
        for_answer: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._messages = list(messages)
        self._tools = list(tools) or None
        self._tokens = special_tokens
        self._where = where
        self._for_answer = for_answer

    @cached_property
    def text(self) -> str:
        """What the template prints.

        Raises:
            RenderingError: The template refuses the conversation or fails on it.
        """
        return self._print(self._messages, for_answer=self._for_answer)

    def without_tools(self) -> str:
        """What the template prints when no tool is defined."""
        return Chat(
            self._tokenizer,
            self._messages,
            (),
            special_tokens=self._tokens,
            where=self._where,
            for_answer=self._for_answer,
        ).text

    def turns(self) -> list[Turn]:
        """Find the assistant turns.

        Raises:
            RenderingError: The template does not print an answer, or not its tool calls.
        """
        return [self._turn(index) for index, message in enumerate(self._messages) if message["role"] == "assistant"]

    def _turn(self, index: int) -> Turn:
        message = self._messages[index]
        if message.get("tool_calls"):
            self._require_tool_calls(index)
        region = self._region(index)
        if region is None:
            raise RenderingError(
                f"{self._where}: the chat template does not print message {index + 1}, an answer.",
                "Set rendering.template to a template that prints every assistant message.",
            )
        start = self._start(index, region[0])
        content_end = max(region[1], start)
        return Turn(index, start, content_end, self._end(index, content_end))

    def _region(self, index: int) -> tuple[int, int] | None:
        """Return where the template prints the content (and tool calls) of a message; None when it does not."""
        mark = _unused_character(self.text)
        varied = [*self._messages]
        varied[index] = _with_content(varied[index], mark)
        marked = self._print(varied, for_answer=self._for_answer)
        return None if marked == self.text else _difference(self.text, marked, mark)

    def _start(self, index: int, begin: int) -> int:
        """Return where the model starts to write, given where the content begins."""
        if index == 0:
            return begin
        prompt = self._part(self._messages[:index], for_answer=True)
        try:
            asked = prompt.text
        except RenderingError:  # the template does not go on from there, so inference never asks for this answer
            return begin
        if self.text.startswith(asked):
            return len(asked)
        # The template prints the beginning differently when more turns follow. What stands behind the content of the
        # previous message may still be the same in both.
        here, there = self._region(index - 1), prompt._region(index - 1)
        if here is None or there is None:
            return begin
        opening, ending = self.text[here[1] : begin], asked[there[1] :]
        return here[1] + len(ending) if opening.startswith(ending) else begin

    def _end(self, index: int, content_end: int) -> int | None:
        """Return where the end-of-turn token ends."""
        close = self._tokens.closing.match(self.text, content_end)
        if close and not self._messages[index].get("tool_calls"):
            return close.end()
        # Text stands between the content and the token. It belongs to this turn as far as the template also prints it
        # when the conversation ends here.
        closing = self._closing(index)
        token = self._tokens.special.search(closing)
        if token is None or not self.text.startswith(closing[: token.end()], content_end):
            return None
        return content_end + token.end()

    def _closing(self, index: int) -> str:
        here = self._part(self._messages[: index + 1], for_answer=False)
        region = here._region(index)
        return "" if region is None else here.text[region[1] :]

    def _part(self, messages: Sequence[Message], *, for_answer: bool) -> Chat:
        return Chat(
            self._tokenizer,
            messages,
            self._tools or (),
            special_tokens=self._tokens,
            where=self._where,
            for_answer=for_answer,
        )

    def _require_tool_calls(self, index: int) -> None:
        message = self._messages[index]
        without = [*self._messages]
        without[index] = {**message, "tool_calls": _marked_calls(message["tool_calls"], _unused_character(self.text))}
        if self._print(without, for_answer=self._for_answer) == self.text:
            raise RenderingError(
                f"{self._where}: the chat template does not print the tool calls of message {index + 1}.",
                "Set rendering.template to one that prints tool calls, chatml for instance.",
            )

    def _print(self, messages: list[Message], *, for_answer: bool) -> str:
        import jinja2

        try:
            text = self._tokenizer.apply_chat_template(
                messages, tools=self._tools, tokenize=False, add_generation_prompt=for_answer
            )
        except (jinja2.TemplateError, TypeError) as error:
            raise RenderingError(
                f"{self._where}: the chat template cannot print this conversation: {error}",
                "Change the row, or set rendering.template to a template that takes such conversations.",
            ) from error
        assert isinstance(text, str)
        return text


def _with_content(message: Message, content: str) -> Message:
    varied = {**message, "content": content}
    if calls := message.get("tool_calls"):
        varied["tool_calls"] = _marked_calls(calls, content)
    return varied


def _marked_calls(calls: Sequence[dict[str, Any]], mark: str) -> list[dict[str, Any]]:
    """Return tool calls of the same form with the mark for names and arguments."""
    marked = []
    for call in calls:
        function = call.get("function", call)
        arguments = mark if isinstance(function.get("arguments"), str) else {mark: mark}
        function = {**function, "name": mark, "arguments": arguments}
        marked.append({**call, "function": function} if "function" in call else function)
    return marked


def _unused_character(text: str) -> str:
    """Return a character of the private use area that the text does not contain."""
    return next(character for character in map(chr, range(0xE000, 0xF900)) if character not in text)


def _difference(text: str, marked: str, mark: str) -> tuple[int, int]:
    """Return the part of `text` that `marked` does not have, as the longest common beginning and end leave it."""
    first, last = marked.find(mark), marked.rfind(mark)
    head, tail = marked[: max(first, 0)], marked[last + 1 :]
    # Nearly always the texts agree right up to the mark on both sides; comparing slices is fast.
    if first >= 0 and len(head) + len(tail) <= len(text) and text.startswith(head) and text.endswith(tail):
        return len(head), len(text) - len(tail)
    begin = _common_prefix(text, marked)
    return begin, len(text) - min(_common_suffix(text, marked), len(text) - begin)


def _common_prefix(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _common_suffix(one: str, other: str) -> int:
    return _common_prefix(one[::-1], other[::-1])
