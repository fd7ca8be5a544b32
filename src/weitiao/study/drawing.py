"""Answers drawn from models for people and judges to compare, stored block by block."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from weitiao.data.example import Example, asked
from weitiao.errors import ModelError
from weitiao.evaluation.answers import write_answers
from weitiao.feedback.exchange import pairs_of
from weitiao.feedback.items import digest_of
from weitiao.feedback.store import FeedbackStore, Made
from weitiao.generation.config import GenerationConfig
from weitiao.methods.open import OpenModel, open_model
from weitiao.rendering.config import RenderingConfig
from weitiao.study.compare.sides import find_side, side_tokenizer
from weitiao.study.dataset import Tell
from weitiao.study.feedback import Counted
from weitiao.study.setup import device_here
from weitiao.terminal.progress import answer_progress

if TYPE_CHECKING:
    from rich.console import Console

_BLOCK_ANSWERS = 256
"""Answers that are drawn before they are stored: what a call that is broken off can lose."""


def sample_answers(
    targets: Sequence[str],
    store: FeedbackStore,
    examples: Sequence[Example],
    *,
    samples: int,
    pairs: int,
    generation: GenerationConfig,
    console: Console,
    tell: Tell,
) -> Counted:
    """Let models answer prompts, and store pairs of their answers; a call that is broken off goes on.

    Args:
        targets: Runs, adapters and models, as `find_side` takes them.
        store: Where the pairs go.
        examples: The prompts.
        samples: Answers of each model to each prompt.
        pairs: Pairs of each prompt at most: those that differ most.
        generation: How answers are written.
        console: Where progress goes.
        tell: Gets every line that a person should see.

    Raises:
        ModelError: A target is no model.
        WeitiaoError: Models cannot be used.
    """
    answers: dict[str, list[tuple[str, Made]]] = {one.row_id: [] for one in examples}
    keys: list[str] = []
    for target in targets:
        draw = _Draw(target, store, samples, generation)
        draw.answer(examples, console)
        keys += draw.texts
        for row_id, text in draw.rows:
            answers[row_id].append((text, draw.made))
    found = [pair for one in examples for pair in pairs_of(one, answers[one.row_id], pairs)]
    if same := sum(len({text.strip() for text, _ in of}) < 2 for of in answers.values()):
        tell(f"{same:,} of {len(examples):,} prompts have one answer only, however often they were asked")
    counted = Counted(store.keep(found))
    store.forget_drawn(keys)
    return counted


class _Draw:
    """What one model answers, block by block, each of which is stored when it is whole.

    Attributes:
        made: The model and its sampling.
        rows: The row of each answer, and its text.
        texts: The answers of each block, by its key in the store.
    """

    def __init__(self, target: str, store: FeedbackStore, samples: int, generation: GenerationConfig) -> None:
        self._side = find_side(target)
        if self._side.model is None:
            raise ModelError(f"{target} is no model.", "Name a run, an adapter or a model.")
        self._target, self._store, self._samples, self._generation = target, store, samples, generation
        self.made = Made(
            target, generation.model_dump(include={"max_new_tokens", "temperature", "top_k", "top_p", "seed"})
        )
        self.rows: list[tuple[str, str]] = []
        self.texts: dict[str, list[str]] = {}

    def answer(self, examples: Sequence[Example], console: Console) -> None:
        """Draw what is not in the store yet."""
        size = max(1, _BLOCK_ANSWERS // self._samples)
        total, opened = len(examples) * self._samples, None
        for number, start in enumerate(range(0, len(examples), size)):
            block = examples[start : start + size]
            prompts = [
                Example(one.row_id, asked(one)[0], tools=one.tools) for one in block for _ in range(self._samples)
            ]
            # the random numbers of an answer follow from the seed and its place, so each block has a seed of its own
            generation = self._generation.model_copy(update={"seed": self._generation.seed + number})
            key = digest_of(
                [self._side.weights, generation.model_dump(), [(one.row_id, one.messages) for one in prompts]]
            )
            texts = self._store.drawn(key)
            if texts is None:
                opened = opened or self._open(console)
                texts = self._write(opened, prompts, generation, console, len(self.rows), total)
                self._store.keep_drawn(key, texts)
            self.texts[key] = texts
            self.rows += zip((one.row_id for one in prompts), texts, strict=True)
        del opened
        gc.collect()  # modules refer to each other; the next model needs the memory

    def _open(self, console: Console) -> OpenModel:
        side = self._side
        with console.status(Text(f"Loading {self._target}"), spinner="line"):
            assert side.model is not None, "it was asked for"
            path = side.path if side.is_tuned and side.path is not None else side.model.name
            return open_model(path, base=side.model, device=device_here())

    def _write(
        self,
        opened: OpenModel,
        prompts: Sequence[Example],
        generation: GenerationConfig,
        console: Console,
        done: int,
        total: int,
    ) -> list[str]:
        tokenizer = side_tokenizer(self._side, RenderingConfig())
        with answer_progress(console, batch_size=generation.batch_size) as on_progress:
            written = write_answers(
                opened.model, tokenizer, prompts, generation, on_progress=lambda num, _: on_progress(done + num, total)
            )
        return [one.answer for one in written]
