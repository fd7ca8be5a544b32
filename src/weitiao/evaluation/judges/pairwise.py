"""Which of two answers is better: what a judge model is asked, what its reply means, and one behind a server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from weitiao.config import Config
from weitiao.data.example import Message, conversation_text
from weitiao.errors import DataError
from weitiao.generation.chat_server import ChatServer, Usage
from weitiao.paths import read_text
from weitiao.text.wording import table_of

Reply = Literal["first", "second", "tie"]

LETTERS = ("A", "B")
_REPLIES: dict[str, Reply] = {LETTERS[0]: "first", LETTERS[1]: "second"}

_FIELD = re.compile(r"\{(prompt|first|second)\}")
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_LETTER = re.compile(r"(?<![A-Za-z0-9])[AB](?![A-Za-z0-9'])")


class JudgeConfig(Config):
    """A model that says which of two answers is better."""

    model: str = Field(min_length=1)
    """A model, run or adapter on this machine, or an OpenAI-compatible server as `URL#MODEL`:
    `http://127.0.0.1:8000/v1#qwen3-8b`."""

    language: Literal["en", "zh"] = "en"
    """Language of the built-in question: English or Chinese."""

    template: Path | None = None
    """A text file with a question of your own. It holds `{prompt}`, `{first}` and `{second}`, calls the answers A and B
    in this order, and asks for the letter of the better one."""

    token_budget: int = Field(default=8192, ge=1)
    """Tokens that a local model computes at once, a shared beginning counted once."""

    api_key_file: Path | None = None
    """A file with the key of the server. Without it no key is sent."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Tokens that a server may write; models that think before they answer need more."""

    requests_at_once: int = Field(default=8, ge=1)
    """Requests that a server has to answer at the same time."""

    timeout_seconds: float = Field(default=120.0, gt=0)
    """How long to wait for a reply of a server."""

    requests_per_minute: float | None = Field(default=None, gt=0)
    """So many requests are sent to a server at most."""

    price: tuple[float, float] | None = None
    """What a server takes for a million tokens that it reads, and for a million that it writes."""


@dataclass(frozen=True, slots=True)
class Question:
    """A template with the fields `{prompt}`, `{first}` and `{second}`.

    Attributes:
        name: `en`, `zh`, or a hash of the user's own text: it is part of the judge's name.
        text: The template.
    """

    name: str
    text: str

    def ask(self, prompt: tuple[Message, ...], first: str, second: str) -> tuple[Message, ...]:
        """The turns to be put to the judge about two answers to a prompt, in the order in which it sees them."""
        values = {"prompt": conversation_text(prompt), "first": first.strip(), "second": second.strip()}
        # in one pass, so that braces in an answer are left alone
        return ({"role": "user", "content": _FIELD.sub(lambda match: values[match[1]], self.text)},)


def read_question(config: JudgeConfig) -> Question:
    """The question of a judge: a built-in one, or that of the user's file.

    Raises:
        DataError: The file cannot be read, or lacks a field.
    """
    if config.template is None:  # what all questions share comes first in it, then what both orders of an item share
        return Question(config.language, table_of(config.language)["judge.question"])
    text = read_text(config.template, DataError)
    found = _FIELD.findall(text)
    if sorted(found) != ["first", "prompt", "second"]:
        raise DataError(
            f"{config.template}: a question to a judge holds {{prompt}}, {{first}} and {{second}} once each; "
            f"found were {', '.join(found) or 'none'}.",
            "Put the three fields where the request and the answers A and B belong.",
        )
    return Question(hashlib.sha256(text.encode()).hexdigest()[:8], text)


def without_thoughts(reply: str) -> str:
    """A reply without what stands between `<think>` and `</think>`."""
    return _THOUGHTS.sub("", reply)


def letter_in(reply: str) -> str | None:
    """The letter that a written reply names; None when it names none, or both.

    What stands between `<think>` and `</think>` does not count.
    """
    text = without_thoughts(reply).strip()
    alone = text.strip(" \t\r\n.。!！*`\"'()[]（）【】:：").upper()
    if alone in LETTERS:
        return alone
    found = set(_LETTER.findall(text))
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Spent:
    """What the judgements of a server took.

    Attributes:
        requests, timeouts: Replies, and requests without one in time.
        prompt_tokens, completion_tokens: Tokens that it read and wrote, as it says itself.
        cost: By its prices; 0 where they are not given.
    """

    requests: int = 0
    timeouts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __str__(self) -> str:
        late = f", {self.timeouts:,} without a reply in time" if self.timeouts else ""
        cost = f", cost {self.cost:,.4f}" if self.cost else ""
        tokens = f"{self.prompt_tokens:,} tokens read and {self.completion_tokens:,} written"
        return f"{self.requests:,} replies{late}, {tokens}{cost}"


class Judge(Protocol):
    """Something that says which of two answers is better.

    Attributes:
        name: What its judgements are stored under.
        question: What it is asked.
    """

    name: str
    question: Question

    def spent(self) -> Spent | None:
        """What it took since it was last asked for that; None where nothing is counted."""
        ...

    def answer(self, questions: Sequence[tuple[Message, ...]]) -> list[Reply | None]:
        """The better answer of each question; None where the reply names neither."""
        ...


class ServerJudge:
    """Asks a server for a letter, greedily, several questions at a time.

    Args:
        config: With a `model` of the form `URL#MODEL`.

    Attributes:
        name: Server, model and question.

    Raises:
        ModelError: The model is not named, or the key cannot be read.
        DataError: The file with the question cannot be used.
    """

    def __init__(self, config: JudgeConfig) -> None:
        self.question = read_question(config)
        self.name = f"{config.model}/{self.question.name}"
        self._server = ChatServer(
            config.model,
            max_new_tokens=config.max_new_tokens,
            requests_at_once=config.requests_at_once,
            timeout_seconds=config.timeout_seconds,
            api_key_file=config.api_key_file,
            requests_per_minute=config.requests_per_minute,
        )
        self._price = config.price or (0.0, 0.0)

    def answer(self, questions: Sequence[tuple[Message, ...]]) -> list[Reply | None]:
        """The letter of each reply; None where it names neither or both, or did not come in time.

        Raises:
            ModelError: The server cannot be reached, refuses, or does not answer as such a server does.
        """
        return [_REPLIES.get(letter_in(text or "") or "") for text in self._server.answer(questions)]

    def spent(self) -> Spent:
        used, self._server.usage = self._server.usage, Usage()
        cost = (self._price[0] * used.prompt_tokens + self._price[1] * used.completion_tokens) / 1e6
        return Spent(used.requests, used.timeouts, used.prompt_tokens, used.completion_tokens, cost)
