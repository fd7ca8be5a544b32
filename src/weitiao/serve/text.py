"""All text of a served model: conversations to prompts, tokens to answers. One code for every engine, streamed or not.

Prompts are printed as training and evaluation print them, and answers are read alike: without what the template puts
in front of them, and without the reasoning that it takes out of earlier turns.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from weitiao.data.formats.conversations import to_messages, to_tools
from weitiao.data.reading.rows import BadRow
from weitiao.errors import RenderingError
from weitiao.generation.answer_text import AnswerText
from weitiao.rendering.answers import AnswerReader
from weitiao.rendering.printing import Printer, special_tokens
from weitiao.rendering.render import Prompts
from weitiao.rendering.tokens import Encoder
from weitiao.serve.calls import CallForm, ToolCall, call_form
from weitiao.serve.engine import Engine, Request, ServeError, Token
from weitiao.serve.sorting import Sorter, held
from weitiao.serve.token_bytes import TokenBytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given, and what is known of the answer to it.

    Attributes:
        ids: The tokens.
        inserted: What the model writes in front of its answer because the template does.
        thinks: Whether reasoning between think tags is no part of the answer.
        thinking: Whether the prompt has opened it already.
        functions: Names of the functions that may be called.
        schema: That of a call, where the answer has to be one: the prompt ends in what the template writes before it.
    """

    ids: tuple[int, ...]
    inserted: str = ""
    thinks: bool = False
    thinking: bool = False
    functions: frozenset[str] = frozenset()
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """What an answer has gained.

    Attributes:
        content: Text of the answer.
        reasoning: Text of the reasoning before it.
        calls: Of functions.
        tokens: Those that these came from.
        finish: With the last piece: `stop` at the end or at a stop string, `tool_calls` there after calls, `length`.
    """

    content: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    tokens: tuple[Token, ...] = ()
    finish: Literal["stop", "length", "tool_calls"] | None = None


class ModelText:
    """The text of one model.

    Args:
        tokenizer: With the chat template of the training, or without one: then there is raw text only.
        stop_ids: Tokens that end an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stop_ids: frozenset[int]) -> None:
        self.tokenizer, self.stop_ids = tokenizer, stop_ids
        self.bytes = TokenBytes(tokenizer)
        self.special = special_tokens(tokenizer)
        self._prompts = Prompts(tokenizer)
        self._encoder = Encoder(tokenizer)

    @cached_property
    def reader(self) -> AnswerReader:
        """Knows what of an answer belongs to the template."""
        return AnswerReader(self.tokenizer)

    @cached_property
    def form(self) -> CallForm | None:
        """How the template writes tool calls."""
        return call_form(Printer(self.tokenizer))

    def chat(self, messages: Any, tools: Any = (), call: bool | str = False) -> Prompt:
        """The prompt for the next answer of a conversation.

        Args:
            messages: Turns as rows of data have them, those of OpenAI's interface among them.
            tools: Definitions of functions.
            call: Whether one of them has to be called; the name of the one that has to be.

        Raises:
            RenderingError: They are no such turns, or the template refuses them.
            UnicodeEncodeError: A text of them is none.
        """
        try:
            turns, defined = to_messages(messages, "messages"), to_tools(tools, "tools")
        except BadRow as error:
            raise RenderingError(f"{error.field}: {error.reason}.", "Correct the request.") from error
        json.dumps([turns, defined], ensure_ascii=False).encode()  # half of a surrogate pair is no text
        if defined and self.form is None:
            raise RenderingError("The chat template of this model writes no tool calls.", "Leave `tools` out.")
        ids = self._prompts(turns, defined, where="messages")
        thinking = self.reader.opens_reasoning(turns, defined)
        inserted = "" if thinking else self.reader.inserted(turns, defined)
        functions = {str(tool["function"]["name"]): tool for tool in defined}
        if not call:
            return Prompt(tuple(ids), inserted, self.reader.takes_reasoning, thinking, frozenset(functions))
        if missing := "tools are empty" if not functions else "" if call is True or call in functions else str(call):
            raise RenderingError(f"tool_choice: there is no function to call: {missing}.", "Name one that is in tools.")
        assert self.form is not None
        wanted = functions if isinstance(call, bool) else {call: functions[call]}
        begun = ("\n</think>\n\n" if thinking else inserted) + self.form.opening
        ids = [*ids, *(self._encoder.batch([begun], add_special_tokens=False)[0] if begun else [])]
        return Prompt(tuple(ids), functions=frozenset(wanted), schema=self.form.schema(list(wanted.values())))

    def raw(self, text: str) -> Prompt:
        """Raw text as a prompt, as training reads raw text.

        Raises:
            RenderingError: There is nothing in it.
        """
        text.encode()
        if not (ids := self._encoder.batch([text], add_special_tokens=True)[0]):
            raise RenderingError("prompt: it is empty.", "Give text to go on with.")
        return Prompt(tuple(ids))

    def piece(self, token: int) -> str:
        """A token alone as text; what is no whole character is escaped, as OpenAI does."""
        raw = self.bytes[token]
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


class Answer:
    """An answer as its tokens come: what is handed out is whole, and nothing that a stop string may still begin with.

    Args:
        text: Of the model.
        prompt: What was asked.
        stop: Texts that end the answer and are no part of it.
    """

    def __init__(self, text: ModelText, prompt: Prompt, stop: Sequence[str] = ()) -> None:
        form = text.form if prompt.functions else None
        shows = form is not None and text.special.search(form.before + form.after) is not None
        self._text, self._stop = text, tuple(stop)
        self._decoder = AnswerText(text.tokenizer, without=prompt.inserted, special=shows)
        self._sorter = Sorter(
            form,
            prompt.functions,
            thinks=prompt.thinks,
            thinking=prompt.thinking,
            calling=prompt.schema is not None,
            hidden=text.special if shows else None,
        )
        self._held = ""  # what a stop string may begin with
        self._decoded = self._passed = 0  # characters
        self._tokens: list[tuple[int, Token]] = []  # with where the text of each begins
        self.num_tokens = 0
        self.cached = 0
        self.finish: Literal["stop", "length", "tool_calls"] | None = None

    def push(self, token: Token) -> Piece | None:
        """Take the next token; what is complete with it, if anything is. Sets `finish` when the answer ends."""
        self.num_tokens += 1
        self.cached = token.cached or self.cached
        ended = token.finish
        fresh = ""
        if token.id in self._text.stop_ids:
            ended = "stop"
        else:
            self._tokens.append((self._decoded, token))
            fresh = self._decoder.push(token.id)
        if ended is not None:
            fresh += self._decoder.finish()
        self._decoded += len(fresh)
        whole, hit = self._before_stop(self._held + fresh, last=ended is not None)
        self._passed += len(whole)
        self._sorter.push(whole)
        if hit or ended is not None:
            self._sorter.finish()
            self.finish = "stop" if hit else ended
            if self.finish == "stop" and self._sorter.num_calls:
                self.finish = "tool_calls"
        return self._piece()

    def _before_stop(self, text: str, *, last: bool) -> tuple[str, bool]:
        """What of a text may go on, and whether a stop string stands behind it.

        Of several the one that begins first counts, also where another ends before it: so the text does not depend on
        where tokens end.
        """
        may_begin = len(text) - (0 if last else held(text, self._stop))
        places = [place for one in self._stop if (place := text.find(one)) >= 0]
        if (first := min(places, default=len(text))) <= may_begin and places:
            self._held = ""
            return text[:first], True
        self._held = text[may_begin:]
        return text[:may_begin], False

    def _piece(self) -> Piece | None:
        content, reasoning, calls = self._sorter.take()
        if not (content or reasoning or calls or self.finish):
            return None
        here = [token for begin, token in self._tokens if begin < self._passed]
        self._tokens = [] if self.finish else [one for one in self._tokens if one[0] >= self._passed]
        return Piece(content, reasoning, calls, tuple(here), self.finish)


async def write(engine: Engine, request: Request, answer: Answer) -> AsyncGenerator[Piece, None]:
    """Let an engine write an answer; it stops computing at a stop string, and where nobody reads on.

    Raises:
        ServeError: The engine died, or its answer has no end.
    """
    async with aclosing(engine.generate(request)) as tokens:
        async for token in tokens:
            piece = answer.push(token)
            if piece is not None:
                yield piece
            if answer.finish is not None:
                return
    raise ServeError(f"{engine.served.name} did not end its answer.", "Ask again.")
