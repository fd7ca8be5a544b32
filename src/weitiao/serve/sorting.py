"""What a model writes, sorted as it comes: reasoning, answer, calls of functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

from weitiao.serve.calls import CallForm, ToolCall

_THINK, _THOUGHT = "<think>", "</think>"


def held(text: str, marks: Iterable[str]) -> int:
    """How many characters at the end of a text one of the marks may begin with, without being there whole."""
    longest = 0
    for mark in marks:
        for size in range(min(len(mark) - 1, len(text)), longest, -1):
            if text.endswith(mark[:size]):
                longest = size
                break
    return longest


class Sorter:
    """Text in, its parts out; the same whether it comes letter by letter or at once.

    Args:
        form: How calls are written; None where there are none.
        functions: Those that may be called: anything else is no call, and stays text.
        thinks: Whether think tags at the beginning hold what is no part of the answer.
        thinking: Whether the prompt has opened them.
        calling: Whether it has opened a call.
        hidden: Special tokens whose text came along and is no part of anything.
    """

    def __init__(
        self,
        form: CallForm | None,
        functions: Collection[str],
        *,
        thinks: bool,
        thinking: bool,
        calling: bool,
        hidden: re.Pattern[str] | None,
    ) -> None:
        self._form, self._functions, self._hidden = form, functions, hidden
        self._state: Literal["start", "reasoning", "content", "call"] = (
            "call" if calling else "reasoning" if thinking else "start"
        )
        self._thinks = thinks
        self._trims = form is not None  # space around what is taken out is no part of the answer
        self._rest = ""
        self._blank = ""  # space behind the content that may be its end
        self._any = False
        self._content, self._reasoning = "", ""
        self._calls: list[ToolCall] = []
        self.num_calls = 0

    def push(self, text: str) -> None:
        """Take more text."""
        self._rest += text
        while self._step(last=False):
            pass

    def finish(self) -> None:
        """No more text comes: what is held is what it looks like."""
        while self._step(last=True):
            pass
        if self._state == "call":
            self._call(self._rest, closed=False)
        elif self._state == "reasoning":
            self._reasoning += self._rest
        else:
            self._say(self._rest)
        if not self._trims:
            self._content += self._blank
        self._rest = self._blank = ""

    def take(self) -> tuple[str, str, tuple[ToolCall, ...]]:
        """What has come since the last time: content, reasoning, calls."""
        found = self._content, self._reasoning, tuple(self._calls)
        self._content, self._reasoning, self._calls = "", "", []
        return found

    def _step(self, *, last: bool) -> bool:
        """Go on as far as is certain; whether there may be more to do."""
        match self._state:
            case "start":
                return self._begin(last=last)
            case "reasoning":
                before, found = self._until(_THOUGHT, last=last)
                self._reasoning += before
                if found:
                    self._state, self._trims = "content", True
                return found
            case "content":
                if self._form is None or not self._form.before:
                    self._say(self._rest)
                    self._rest = ""
                    return False
                before, found = self._until(self._form.before, last=last)
                self._say(before)
                if found:
                    self._state = "call"
                return found
            case "call":
                if self._form is None or not self._form.after:
                    return False
                place = self._rest.find(self._form.after)
                if place >= 0:
                    text, self._rest = self._rest[:place], self._rest[place + len(self._form.after) :]
                    self._call(text, closed=True)
                    self._state = "content"
                return place >= 0

    def _begin(self, *, last: bool) -> bool:
        seen = self._rest.lstrip()
        if not seen or (self._thinks and _THINK.startswith(seen) and not last and seen != _THINK):
            return False
        if self._thinks and seen.startswith(_THINK):
            self._state, self._rest = "reasoning", seen.removeprefix(_THINK)
        elif self._form is not None and not self._form.before and seen[0] in "{[":
            self._state = "call"
        else:
            self._state = "content"
        return True

    def _until(self, mark: str, *, last: bool) -> tuple[str, bool]:
        """What stands before a mark, and whether it was found; else what is certainly not its beginning."""
        before, found, after = self._rest.partition(mark)
        if found:
            self._rest = after
            return before, True
        keep = 0 if last else held(self._rest, (mark,))
        before, self._rest = self._rest[: len(self._rest) - keep], self._rest[len(self._rest) - keep :]
        return before, False

    def _call(self, text: str, *, closed: bool) -> None:
        assert self._form is not None
        if (calls := self._form.read(self._json(text), self._functions)) is not None:
            self._calls += calls
            self.num_calls += len(calls)
        else:
            self._say(self._form.before + text + (self._form.after if closed else ""))

    def _json(self, text: str) -> str:
        text = text.strip()
        return text if self._hidden is None else self._hidden.sub("", text).strip()

    def _say(self, text: str) -> None:
        if self._hidden is not None:
            text = self._hidden.sub("", text)
        text = self._blank + text
        if self._trims:
            if not self._any:
                text = text.lstrip()
            kept = text.rstrip()
            self._blank, text = text[len(kept) :], kept
        else:
            self._blank = ""
        self._any = self._any or bool(text)
        self._content += text
