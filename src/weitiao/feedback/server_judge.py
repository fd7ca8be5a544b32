"""A judge model behind an OpenAI-compatible server, by the letter that it writes."""

from __future__ import annotations

from collections.abc import Sequence

from weitiao.data.example import Message
from weitiao.feedback.config import JudgeConfig
from weitiao.feedback.judge import Reply
from weitiao.feedback.question import LETTERS, letter_in, read_question
from weitiao.generation.chat_server import ChatServer

_REPLIES: dict[str, Reply] = {LETTERS[0]: "first", LETTERS[1]: "second"}


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
        )

    def answer(self, questions: Sequence[tuple[Message, ...]]) -> list[Reply | None]:
        """The letter of each reply; None where it names neither or both.

        Raises:
            ModelError: The server cannot be reached, refuses, or does not answer as such a server does.
        """
        return [_REPLIES.get(letter_in(text) or "") for text in self._server.answer(questions)]
