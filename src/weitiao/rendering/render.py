"""Examples to sequences: token ids with a loss weight per token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from weitiao.data.example import Example, Message, is_learned, sides
from weitiao.data.reading.rows import BadRow
from weitiao.errors import RenderingError
from weitiao.rendering.chat import Leaf, asked_turn, asked_turns, leaves, places, standing
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.printing import Printer, common_prefix, special_tokens
from weitiao.rendering.report import Tally, note_answers, note_other_turns
from weitiao.rendering.steps import with_steps
from weitiao.rendering.tokens import Encoder
from weitiao.rendering.windows import windows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 1000
"""Examples that are tokenised together."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A data set as sequences.

    Attributes:
        sequences: In the order of the examples; an example gives several where the template rewrites earlier turns.
        report: What a user should know about it, one line each.
        refused: Row id and reason of each example that the template cannot render (`skip_bad_rows`).
    """

    sequences: tuple[TokenSequence, ...]
    report: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()


def render(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    config: RenderingConfig,
    *,
    max_context: int,
    skip_bad_rows: bool = False,
    window_overlap: int | None = None,
) -> Rendered:
    """Turn examples into token ids with a loss weight per token.

    A conversation is printed with the tokenizer's chat template (see `apply_template`). Each answer is learned behind
    the prompt that the template prints for it, up to and with its end-of-turn token. Where the conversation printed as
    a whole holds all answers behind their prompts it is one sequence, else there are several. Raw text gets the EOS
    token, and the BOS token when the tokenizer adds one by itself, and all of it but the first token is learned.

    A row that compares two answers gives two sequences, the better one first; its numbers are columns of them. One with
    an answer in steps has a column of these (`rendering/steps`).

    Args:
        examples: The rows.
        tokenizer: Tokenizer with its chat template.
        config: The recipe section `rendering`.
        max_context: The model's context, in tokens.
        skip_bad_rows: Leave out and count rows that the template cannot render; else they are an error.
        window_overlap: All rows are raw text, and one longer than the limit becomes several windows, each of which
            begins with so many of the last tokens of the one before (behind the BOS token, where there is one), which
            it does not learn. None: rows are not cut.

    Returns:
        The sequences, with counts of what was left out.

    Raises:
        RenderingError: The template cannot render a row, a row is too long and `on_long` is `error`, or nothing is
            supervised in any row.
    """
    renderer = _Renderer(tokenizer, config, max_context=max_context, window_overlap=window_overlap)
    sequences: list[TokenSequence] = []
    for start in range(0, len(examples), _CHUNK):
        sequences += renderer.rows(examples[start : start + _CHUNK])
    tally = renderer.tally
    if tally.refused and not skip_bad_rows:
        raise tally.refusal()
    report = tally.lines(sequences, num_examples=len(examples), limit=renderer.limit, on_long=config.on_long)
    if examples and not sequences:
        raise RenderingError(
            f"No supervised token is left in the whole data set: {' '.join(report)}",
            "Check that the rows have answers, and that rendering.max_length leaves room for them.",
        )
    return Rendered(
        sequences=tuple(sequences),
        report=report,
        refused=tuple(tally.refused),
    )


class Prompts:
    """Prints prompts, with the very ids that training has before an answer; made once for many of them.

    Args:
        tokenizer: Tokenizer with its chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._encoder = Encoder(tokenizer)
        self._printer: Printer | None = None

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = (), *, where: str = "the conversation"
    ) -> list[int]:
        """Return the prompt for the next answer.

        Args:
            messages: The turns so far, the last of them usually the user's.
            tools: Tool definitions that the template may print.
            where: What errors call it, a row for instance.

        Returns:
            The token ids, the generation prompt included.

        Raises:
            RenderingError: The tokenizer has no template, or the template refuses the conversation.
        """
        self._printer = printer = self._printer or Printer(self._tokenizer, where)
        try:
            text = printer.print(messages, tools, for_answer=True)
        except BadRow as error:
            raise RenderingError(
                f"{where}: {error.reason}",
                "Change the conversation, or set rendering.template to a template that takes it.",
            ) from error
        ids = self._encoder.cut(text, places(standing(text, asked_turns(printer, messages, tools))))[0]
        if not ids:
            raise RenderingError(
                f"{where}: the chat template prints nothing as the prompt for an answer.",
                "Set rendering.template to a template that prints the turns before an answer.",
            )
        return ids


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token with which the chat template ends an answer, where generation has to stop.

    Args:
        tokenizer: Tokenizer with its chat template, or without one.

    Returns:
        The token id; None when there is no template or it writes no end-of-turn token.
    """
    if tokenizer.chat_template is None:
        return None
    printer = Printer(tokenizer)
    probe: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for messages in (probe, [{"role": "system", "content": "c"}, *probe]):
        for turn in asked_turns(printer, messages, ()):
            return Encoder(tokenizer).encode(turn.text)[-1]
    return None


class _Renderer:
    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: RenderingConfig,
        *,
        max_context: int,
        window_overlap: int | None,
    ) -> None:
        if config.max_length is not None and config.max_length > max_context:
            raise RenderingError(
                f"rendering.max_length is {config.max_length} tokens, the model's context {max_context}.",
                f"Set rendering.max_length to {max_context} or less, or leave it out.",
            )
        self.limit = config.max_length or max_context
        if window_overlap is not None and window_overlap + 2 > self.limit:  # the BOS token, and one to learn
            raise RenderingError(
                f"objective.overlap: {window_overlap} tokens of context leave no room in windows of {self.limit}.",
                "Set it to less, or raise rendering.max_length.",
            )
        self._overlap = window_overlap
        self.tally = Tally()
        self._tokenizer = tokenizer
        self._config = config
        self._special = special_tokens(tokenizer)
        self._encoder = Encoder(tokenizer)
        self._printer: Printer | None = None
        self._tools_checked = False

    def rows(self, examples: Sequence[Example]) -> Iterator[TokenSequence]:
        """Render some rows; what becomes of each is in the tally."""
        conversations = [sides(example) for example in examples]
        rendered = self._chunk([one for row in conversations for one in row])
        for example, row in zip(examples, conversations, strict=True):
            found = [next(rendered) for _ in row]
            yield from found[0] if row == (example,) else self._compared(example, found)

    def _compared(self, example: Example, found: Sequence[Sequence[TokenSequence]]) -> Iterator[TokenSequence]:
        """One sequence for each side, with the numbers of the row; none where a side is missing."""
        self.tally.compared = True
        if not all(found):
            return
        if any(len(side) > 1 for side in found):
            self.tally.refused.append((example.row_id, "the template prints the turns of an answer in several ways"))
        elif example.rejected and np.array_equal(found[0][0].token_ids, found[1][0].token_ids):
            self.tally.refused.append((example.row_id, "the two answers become the same tokens"))
        else:
            for (one,) in found:
                columns = {name: np.full(len(one), value, np.float32) for name, value in example.numbers.items()}
                yield replace(one, columns={**one.columns, **columns})

    def _chunk(self, examples: Sequence[Example]) -> Iterator[list[TokenSequence]]:
        """The sequences of each conversation or text."""
        if self._overlap is not None and (talks := [one.row_id for one in examples if one.messages]):
            raise RenderingError(
                f"{talks[0]} is a conversation, and objective: pretrain learns raw text.",
                "Give rows of raw text (a column `text`, or a .txt file), or choose objective: sft.",
            )
        found = {index: self._leaves(example) for index, example in enumerate(examples) if example.messages}
        texts = [leaf for leaves in found.values() for leaf in leaves or ()]
        self._encoder.learn(
            text for leaf in texts for text in (leaf.text, *(leaf.text[:place] for place in places(leaf.turns)))
        )
        raw = [index for index, example in enumerate(examples) if not example.messages]
        raw_ids = self._encoder.batch([examples[index].text for index in raw], add_special_tokens=True) if raw else []
        ids_of = dict(zip(raw, raw_ids, strict=True))
        for index, example in enumerate(examples):
            if (conversation := found.get(index, [])) is None:
                yield []
                continue
            self._note_special_text(example)
            if not example.messages:
                tokens = list(self._raw(example.row_id, ids_of[index]))
            else:
                tokens = list(self._conversation(conversation))
                if not tokens:
                    self.tally.add("without target", example.row_id)
            fitted = [self._fit(example.row_id, ids, weights) for ids, weights in tokens]
            sequences = [sequence for sequence in fitted if sequence]
            if example.steps and sequences:
                try:
                    sequences = [with_steps(example, conversation[-1], tokens[-1][0], sequences[-1], self._encoder)]
                except BadRow as error:
                    self.tally.refused.append((example.row_id, error.reason))
                    sequences = []
            yield sequences

    def _leaves(self, example: Example) -> list[Leaf] | None:
        """The texts to learn from; None when the template cannot render the row, which is then in the tally."""
        if self._printer is None:
            self._printer = Printer(self._tokenizer, example.row_id)
        try:
            return self._asked(example, self._printer)
        except BadRow as error:
            self.tally.refused.append((example.row_id, error.reason))
            return None

    def _asked(self, example: Example, printer: Printer) -> list[Leaf]:
        answers = [index for index, message in enumerate(example.messages) if message["role"] == "assistant"]
        wanted = answers[-1:] if self._config.turns == "last" else answers
        learned = [index for index in wanted if is_learned(example.messages[index])]
        if not learned:
            return []
        turns = {index: asked_turn(printer, example.messages, example.tools, index) for index in learned}
        others = (
            {turn.message: turn for turn in asked_turns(printer, example.messages[: learned[-1]], example.tools)}
            if len(learned) < len(answers)
            else {}
        )
        found = leaves([one for _, one in sorted((others | turns).items())], learned)
        if example.tools and not self._tools_checked:
            self._tools_checked = True
            upto = example.messages[: learned[-1] + 1]
            self.tally.tools_ignored = printer.print(upto, example.tools) == printer.print(upto)
        note_answers(self.tally, example, turns.values())
        note_other_turns(self.tally, example, printer, found[-1])
        return found

    def _conversation(self, leaves: Sequence[Leaf]) -> Iterator[tuple[list[int], list[float]]]:
        """The ids and weights of each text of a conversation."""
        before: list[list[int]] = []
        for leaf in leaves:
            ids, counts = self._encoder.cut(leaf.text, places(leaf.turns))
            spans = list(zip(leaf.turns, counts[::2], counts[1::2], strict=True))
            weights = [0.0] * len(ids)
            if self._config.train_on_prompt:
                # What an earlier text of the row begins with, too, is learned there.
                known = max((common_prefix(ids, earlier) for earlier in before), default=0)
                weights[known:] = [1.0] * (len(ids) - known)
                before.append(ids)
            for turn, start, stop in spans:
                weights[start:stop] = [float(turn in leaf.learned)] * (stop - start)
            weights[0] = 0.0
            yield ids, weights

    def _raw(self, row_id: str, ids: list[int]) -> Iterator[tuple[list[int], list[float]]]:
        """The ids and weights of a raw text, or of each of its windows."""
        eos, bos = self._tokenizer.eos_token_id, self._tokenizer.bos_token_id
        if eos is None and self._overlap is None:
            raise RenderingError(
                "Raw text is closed with the EOS token, and this tokenizer has none.",
                "Use a tokenizer with an eos_token.",
            )
        if bos is not None and ids[:2] == [bos, bos]:  # the text brings the token that the tokenizer adds
            self.tally.add("second BOS", row_id)
            ids = ids[1:]
        ids = ids if eos is None or ids[-1:] == [eos] else [*ids, eos]
        if self._overlap is None or len(ids) <= self.limit:
            yield ids, [0.0] + [1.0] * (len(ids) - 1)
        else:
            self.tally.add("windows", row_id)
            yield from windows(ids, limit=self.limit, overlap=self._overlap, bos=bos)

    def _fit(self, row_id: str, ids: list[int], weights: list[float]) -> TokenSequence | None:
        """Apply the length limit."""
        tally = self.tally
        tally.longest = max(tally.longest, len(ids))
        if not any(weights):
            tally.add("without target", row_id)
            return None
        if len(ids) <= self.limit:
            return TokenSequence.of(row_id, ids, weights)
        if self._config.on_long == "error":
            raise RenderingError(
                f"{row_id}: {len(ids)} tokens, more than the limit of {self.limit}.",
                "Shorten the row, raise rendering.max_length, or set rendering.on_long to drop or truncate.",
            )
        if self._config.on_long == "drop" or not any(weights[: self.limit]):
            tally.add("dropped long", row_id)
            return None
        tally.add("truncated", row_id)
        return TokenSequence.of(row_id, ids[: self.limit], weights[: self.limit], truncated=True)

    def _note_special_text(self, example: Example) -> None:
        for text in (example.text, *(message.get("content") for message in example.messages)):
            if isinstance(text, str) and (found := self._special.search(text)):
                self.tally.add("special text", example.row_id, found.group())
                return
