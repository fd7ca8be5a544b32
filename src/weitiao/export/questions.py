"""What an exported model is asked before it is called done, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weitiao.evaluation.likelihood import first_ids
from weitiao.export.check import probe_texts
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.printing import Printer
from weitiao.rendering.render import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from weitiao.data.example import Example


@dataclass(frozen=True, slots=True)
class Questions:
    """What every engine is asked, the tuned model itself among them.

    Attributes:
        texts: Texts as an engine gets them, special tokens written out.
        ids: What training makes of each.
        prompts: What is answered greedily: first some of our own, then the rows'.
        sequences: Token ids, and the places of those whose log-probability is asked; each place is 1 or more.
        num_own: How many of the prompts, and of the sequences, are our own and not from the rows.
        max_new_tokens: Tokens after which an answer is broken off.
        threads: That the engine computes with.
        stop_ids: Tokens that end an answer; none yet for the tuned model, whose own they are.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    prompts: tuple[tuple[int, ...], ...]
    sequences: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    num_own: tuple[int, int]
    max_new_tokens: int
    threads: int
    stop_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model said.

    Attributes:
        ids: What it makes of each of `Questions.texts`.
        logprobs: Of each sequence, at the places that were asked.
        answers: To the prompts, without the token that ended them.
        stopped: Whether each was ended, and not broken off.
        ends: The tokens at which the engine ends an answer by itself.
        template: Its chat template.
        load_seconds, memory_bytes, tokens_per_second: As in `verdict.exported.Exported`.
    """

    ids: tuple[tuple[int, ...], ...]
    logprobs: tuple[tuple[float, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    stopped: tuple[bool, ...]
    ends: tuple[int, ...]
    template: str | None
    load_seconds: float
    memory_bytes: int
    tokens_per_second: float


def make_questions(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Example],
    sequences: Sequence[TokenSequence],
    *,
    max_new_tokens: int,
    max_context: int | None,
    threads: int,
) -> Questions:
    """Our own questions (chats, prose, code, JSON, digits, Chinese, emoji), and those of held-out rows.

    Args:
        tokenizer: With the chat template of the training.
        rows: Gradable rows, whose prompts are asked.
        sequences: Held-out rows as training would learn them.
        max_new_tokens: Tokens after which an answer is broken off.
        max_context: The model's context; those of our own texts that are longer are left out.
        threads: That engines compute with.

    Raises:
        RenderingError: The template refuses a row.
    """
    texts, chats = probe_texts()
    first = first_ids(tokenizer)
    cut = {text: tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts}
    cut = {text: ids for text, ids in cut.items() if len(ids) < (max_context or len(ids) + 1)}
    own = [((*first, *ids), tuple(range(1, len(first) + len(ids)))) for ids in cut.values()]
    asked: list[tuple[str, tuple[int, ...]]] = []
    own_chats = 0
    if tokenizer.chat_template is not None:
        printer, prompt = Printer(tokenizer), Prompts(tokenizer)
        for text in chats:
            turns = [{"role": "user", "content": text}]
            asked.append((printer.print(turns, (), for_answer=True), tuple(prompt(turns))))
        own_chats = len(asked)
        for row in rows:
            ids = tuple(prompt(row.prompt, row.tools, where=row.row_id))
            asked.append((printer.print(row.prompt, row.tools, for_answer=True), ids))
    learned = [
        (tuple(one.token_ids.tolist()), tuple(place for place, weight in enumerate(one.weights.tolist()) if weight))
        for one in sequences
    ]
    kept = [(ids, places) for ids, places in own if places]
    return Questions(
        texts=(*cut, *(text for text, _ in asked)),
        ids=(*cut.values(), *(ids for _, ids in asked)),
        prompts=tuple(ids for _, ids in asked),
        sequences=(*kept, *learned),
        num_own=(own_chats, len(kept)),
        max_new_tokens=max_new_tokens,
        threads=threads,
    )
