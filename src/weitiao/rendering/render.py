"""Examples to sequences: token ids with a loss weight per token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence as ListOf
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weitiao.data.example import Example, Message, is_learned
from weitiao.errors import RenderingError
from weitiao.rendering.chat import Chat, SpecialTokens, Turn
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.report import Tally
from weitiao.rendering.sequence import Sequence
from weitiao.rendering.tokens import Encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 1000
"""Examples that are tokenised together."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A data set as sequences.

    Attributes:
        sequences: In the order of the examples.
        num_dropped_long: Examples left out because they are too long, or because nothing to learn was left of them.
        num_truncated: Sequences whose end was cut off.
        num_without_target: Examples left out because no token of them is supervised.
        longest: Length of the longest example before dropping and truncating, in tokens.
        report: What a user should know about it, one line each.
    """

    sequences: tuple[Sequence, ...]
    num_dropped_long: int
    num_truncated: int
    num_without_target: int
    longest: int
    report: tuple[str, ...]


def render(
    examples: ListOf[Example], tokenizer: PreTrainedTokenizerBase, config: RenderingConfig, *, max_context: int
) -> Rendered:
    """Turn examples into token ids with a loss weight per token.

    A conversation is printed with the tokenizer's chat template (see `apply_template`) and ends behind its last
    answer: what follows could only cost time. Each answer is learned from the end of the prompt that the template
    prints for it up to and with its end-of-turn token. Raw text gets the EOS token, and the BOS token when the
    tokenizer adds one by itself, and all of it but the first token is learned.

    Args:
        examples: The rows.
        tokenizer: Tokenizer with its chat template.
        config: The recipe section `rendering`.
        max_context: The model's context, in tokens.

    Returns:
        The sequences, with counts of what was left out.

    Raises:
        RenderingError: The template fails on a row or writes no end-of-turn token, a row is too long and
            `on_long` is `error`, or nothing is supervised in any row.
    """
    renderer = _Renderer(tokenizer, config, max_context=max_context)
    sequences: list[Sequence] = []
    for start in range(0, len(examples), _CHUNK):
        sequences += renderer.chunk(examples[start : start + _CHUNK])
    tally = renderer.tally
    report = tally.lines(sequences, num_examples=len(examples), limit=renderer.limit, on_long=config.on_long)
    if examples and not sequences:
        raise RenderingError(
            f"No supervised token is left in the whole data set: {' '.join(report)}",
            "Check that the rows have answers, and that rendering.max_length leaves room for them.",
        )
    return Rendered(
        sequences=tuple(sequences),
        num_dropped_long=tally.num_dropped_long,
        num_truncated=tally.num_truncated,
        num_without_target=tally.num_without_target,
        longest=tally.longest,
        report=report,
    )


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: ListOf[Message], tools: ListOf[dict[str, Any]] = ()
) -> list[int]:
    """Return the prompt for the next answer, with the very ids that training has before that answer.

    Args:
        tokenizer: Tokenizer with its chat template.
        messages: The turns so far, the last of them usually the user's.
        tools: Tool definitions that the template may print.

    Returns:
        The token ids, the generation prompt included.

    Raises:
        RenderingError: The tokenizer has no template, or the template refuses the conversation.
    """
    _require_template(tokenizer)
    chat = Chat(
        tokenizer, messages, tools, special_tokens=SpecialTokens(tokenizer), where="the conversation", for_answer=True
    )
    places = [place for turn in chat.turns() for place in (turn.start, turn.stop)]
    return Encoder(tokenizer).cut(chat.text, places)[0]


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token with which the chat template ends an answer, where generation has to stop.

    Args:
        tokenizer: Tokenizer with its chat template, or without one.

    Returns:
        The token id; None when there is no template or it writes no end-of-turn token.
    """
    if tokenizer.chat_template is None:
        return None
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    chat = Chat(tokenizer, messages, (), special_tokens=SpecialTokens(tokenizer), where="a probe of the chat template")
    turn = chat.turns()[-1]
    if turn.end is None:
        return None
    return Encoder(tokenizer).encode(chat.text[: turn.end])[-1]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A conversation as text, before it is tokenised."""

    example: Example
    text: str
    turns: tuple[Turn, ...]
    learned: tuple[Turn, ...]

    @property
    def places(self) -> list[int]:
        return [place for turn in self.turns for place in (turn.start, turn.stop)]


class _Renderer:
    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: RenderingConfig, *, max_context: int) -> None:
        if config.max_length is not None and config.max_length > max_context:
            raise RenderingError(
                f"rendering.max_length is {config.max_length} tokens, the model's context {max_context}.",
                f"Set rendering.max_length to {max_context} or less, or leave it out.",
            )
        self.limit = config.max_length or max_context
        self.tally = Tally()
        self._tokenizer = tokenizer
        self._config = config
        self._special = SpecialTokens(tokenizer)
        self._encoder = Encoder(tokenizer)
        self._tools_checked = False

    def chunk(self, examples: ListOf[Example]) -> Iterator[Sequence]:
        """Render some examples; what becomes of each is in the tally."""
        plans = {index: self._plan(example) for index, example in enumerate(examples) if example.messages}
        self._encoder.learn(
            text for plan in plans.values() for text in (plan.text, *(plan.text[:place] for place in plan.places))
        )
        raw = [index for index, example in enumerate(examples) if not example.messages]
        raw_ids = self._encoder.batch([examples[index].text for index in raw], add_special_tokens=True) if raw else []
        texts = dict(zip(raw, raw_ids, strict=True))
        for index, example in enumerate(examples):
            self._note_special_text(example)
            ids, weights = self._conversation(plans[index]) if example.messages else self._raw(texts[index])
            if sequence := self._fit(example.row_id, ids, weights):
                yield sequence

    def _plan(self, example: Example) -> _Plan:
        _require_template(self._tokenizer, example.row_id)
        chat = Chat(
            self._tokenizer, example.messages, example.tools, special_tokens=self._special, where=example.row_id
        )
        if example.tools and not self._tools_checked:
            self._tools_checked = True
            self.tally.tools_ignored = chat.without_tools() == chat.text
        turns = tuple(chat.turns())
        asked = turns[-1:] if self._config.turns == "last" else turns
        learned = tuple(turn for turn in asked if is_learned(example.messages[turn.message]))
        for turn in learned:
            if turn.end is None:
                raise RenderingError(
                    f"{example.row_id}: the chat template (rendering.template: {self._config.template}) writes no "
                    f"end-of-turn token after message {turn.message + 1}, so a model could not learn to stop.",
                    "Set rendering.template to one that ends every answer in a special token that this tokenizer has.",
                )
            self._note_rewritten(example, chat.text[turn.start : turn.end], turn)
        return _Plan(example, chat.text[: turns[-1].stop] if turns else chat.text, turns, learned)

    def _conversation(self, plan: _Plan) -> tuple[list[int], list[float]]:
        ids, counts = self._encoder.cut(plan.text, plan.places)
        if self._config.train_on_prompt and plan.turns:
            return ids, _all_but_first(ids)
        weights = [0.0] * len(ids)
        for turn, start, stop in zip(plan.turns, counts[::2], counts[1::2], strict=True):
            if turn in plan.learned:
                weights[start:stop] = [1.0] * (stop - start)
        weights[0] = 0.0
        return ids, weights

    def _raw(self, ids: list[int]) -> tuple[list[int], list[float]]:
        eos = self._tokenizer.eos_token_id
        if eos is None:
            raise RenderingError(
                "Raw text is closed with the EOS token, and this tokenizer has none.",
                "Use a tokenizer with an eos_token.",
            )
        ids = ids if ids[-1:] == [eos] else [*ids, eos]
        return ids, _all_but_first(ids)

    def _fit(self, row_id: str, ids: list[int], weights: list[float]) -> Sequence | None:
        """Apply the length limit."""
        tally = self.tally
        tally.longest = max(tally.longest, len(ids))
        if not any(weights):
            tally.without_target(row_id)
            return None
        if len(ids) <= self.limit:
            return Sequence(row_id, tuple(ids), tuple(weights))
        if self._config.on_long == "error":
            raise RenderingError(
                f"{row_id}: {len(ids)} tokens, more than the limit of {self.limit}.",
                "Shorten the row, raise rendering.max_length, or set rendering.on_long to drop or truncate.",
            )
        if self._config.on_long == "drop" or not any(weights[: self.limit]):
            tally.dropped_long(row_id)
            return None
        tally.truncated(row_id)
        return Sequence(row_id, tuple(ids[: self.limit]), tuple(weights[: self.limit]), truncated=True)

    def _note_special_text(self, example: Example) -> None:
        for text in (example.text, *(message.get("content") for message in example.messages)):
            if isinstance(text, str) and (found := self._special.special.search(text)):
                self.tally.special_text(example.row_id, found.group())
                return

    def _note_rewritten(self, example: Example, printed: str, turn: Turn) -> None:
        content = example.messages[turn.message].get("content") or ""
        if content not in printed and _squeezed(content) not in _squeezed(printed):
            self.tally.rewritten(example.row_id)


def _all_but_first(ids: list[int]) -> list[float]:
    return [0.0] + [1.0] * (len(ids) - 1)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _require_template(tokenizer: PreTrainedTokenizerBase, where: str = "the conversation") -> None:
    if tokenizer.chat_template is None:
        raise RenderingError(
            f"{where}: a conversation needs a chat template, and this tokenizer has none.",
            "Set rendering.template to alpaca, chatml or the path of a .jinja file.",
        )
