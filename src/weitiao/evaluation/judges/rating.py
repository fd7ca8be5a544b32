"""The metric `judge`: another model rates each answer from 1 to 5."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PrivateAttr

from weitiao.data.config import TemplateText
from weitiao.data.example import Example, Message, conversation_text
from weitiao.data.reading.rows import BadRow
from weitiao.errors import RecipeError
from weitiao.evaluation.answers import write_answers
from weitiao.evaluation.metrics.base import Item, Metric, find_or_keep
from weitiao.generation.config import GenerationConfig

if TYPE_CHECKING:
    from weitiao.data.formats.templates import RowTemplate

Answerer = Callable[[Sequence[Sequence[Message]]], Sequence[str | None]]

PROMPT = """\
Rate how good an answer is, from 1 to 5. 5: right and complete, as good as the reference. 3: partly right. 1: wrong, or
no answer to the question. Other wording than that of the reference is no fault.

[Question]
{{ question }}

[Reference]
{{ expected }}

[Answer]
{{ answer }}

End with one line of the form "Score: N"."""

_LOWEST, _HIGHEST = 1, 5
_OUT_OF = re.compile(r"(?:/|out of)\s*5(?!\.?\d)", re.IGNORECASE)
_RATING = re.compile(r"(?<![\d.])([1-5](?:\.\d+)?)(?![\d])")
_NAMED_RATING = re.compile(rf"(?:score|rating|评分|得分|分数)\W{{0,8}}{_RATING.pattern}", re.IGNORECASE)


class JudgeMetric(Metric):
    """A model that rates each answer from 1 to 5, mapped to 0 to 1.

    A reply without a rating is graded 0, and counted; as a reward, its answer is dropped. A model on this machine is
    loaded when it is first asked, and stays loaded.
    """

    type: Literal["judge"]
    """The metric."""

    model: str = Field(min_length=1)
    """A model, run or adapter on this machine, or an OpenAI-compatible server as `URL#MODEL`:
    `http://127.0.0.1:8000/v1#qwen3-8b`."""

    prompt: TemplateText | None = None
    """A Jinja template over `question`, `expected`, `answer` and the row's columns, which asks for a rating from 1 to
    5. The last number after `Score:`, or else the last number from 1 to 5, is taken."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Tokens that the judge may write."""

    api_key_file: Path | None = None
    """A file with the key of the server. Without it no key is sent."""

    timeout_seconds: float = Field(default=120.0, gt=0)
    """How long to wait for a reply of a server; what has none by then has no rating."""

    requests_per_minute: float | None = Field(default=None, gt=0)
    """So many requests are sent to a server at most."""

    _template: RowTemplate = PrivateAttr()
    _ask: Answerer | None = PrivateAttr(None)
    _num_unrated: int = PrivateAttr(0)
    _unrated: float = PrivateAttr(0.0)

    def located(self, folders: Sequence[Path]) -> Self:
        update: dict[str, object] = {}
        if "://" not in self.model:
            update["model"] = str(find_or_keep(Path(self.model), folders))
        if self.api_key_file is not None:
            update["api_key_file"] = find_or_keep(self.api_key_file, folders)
        return self.model_copy(update=update)

    def prepare(self) -> None:
        from weitiao.data.formats.templates import RowTemplate
        from weitiao.generation.chat_server import ChatServer, is_server

        self._template = RowTemplate(self.prompt or PROMPT)
        if is_server(self.model):
            server = ChatServer(
                self.model,
                max_new_tokens=self.max_new_tokens,
                timeout_seconds=self.timeout_seconds,
                api_key_file=self.api_key_file,
                requests_per_minute=self.requests_per_minute,
            )
            self._ask = server.answer

    def as_reward(self) -> JudgeMetric:
        metric = self.model_copy()
        metric._unrated = math.nan
        return metric

    def check(self, item: Item) -> None:
        self._question(item)

    def grade(self, item: Item) -> float:
        return self.grade_all([item])[0]

    def grade_all(self, items: Sequence[Item]) -> list[float]:
        if self._ask is None:
            self._ask = _local(self.model, self.max_new_tokens)
        ratings = [rating(reply or "") for reply in self._ask([self._question(item) for item in items])]
        self._num_unrated = ratings.count(None)
        return [self._unrated if found is None else (found - _LOWEST) / (_HIGHEST - _LOWEST) for found in ratings]

    def details(self, items: Sequence[Item]) -> dict[str, Any]:
        return {"num_unrated": self._num_unrated}

    def _question(self, item: Item) -> tuple[Message, ...]:
        row = {
            **item.columns,
            "question": conversation_text(item.prompt),
            "expected": item.expected,
            "answer": item.answer,
        }
        try:
            return ({"role": "user", "content": self._template.render(row, name="prompt")},)
        except BadRow as error:
            raise RecipeError(
                f"{item.row_id}: the prompt of the metric `{self.title}`: {error.reason}",
                "It may use question, expected, answer and the row's columns.",
            ) from error


def rating(reply: str) -> float | None:
    """The rating from 1 to 5 in a judge's reply: the last one that is called so, else the last number of this range."""
    from weitiao.evaluation.judges.pairwise import without_thoughts

    reply = _OUT_OF.sub("", without_thoughts(reply))
    found = _NAMED_RATING.findall(reply) or _RATING.findall(reply)
    ratings = [float(one) for one in found if float(one) <= _HIGHEST]
    return ratings[-1] if ratings else None


def _local(model: str, max_new_tokens: int) -> Answerer:
    """Answers of a model on this machine, greedily."""
    import torch

    from weitiao.methods.open import open_model

    opened = open_model(model, device="cuda" if torch.cuda.is_available() else "cpu")
    config = GenerationConfig(max_new_tokens=max_new_tokens)

    def answer(conversations: Sequence[Sequence[Message]]) -> list[str]:
        where, nothing = f"a question to the judge {model}", {"role": "assistant", "content": ""}
        asked = [Example(where, (*conversation, nothing)) for conversation in conversations]
        return [one.answer for one in write_answers(opened.model, opened.tokenizer, asked, config)]

    return answer
