"""Which tokens are run next: those of all answers that are being written, and a piece of the prompts that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from weitiao.forest.layout import common_prefix_length
from weitiao.generation.config import GenerationConfig
from weitiao.generation.joining import Joining
from weitiao.generation.prefixes import BLOCK
from weitiao.generation.sampling import choose, stream_of
from weitiao.serve.engine import Finish, Request, Token
from weitiao.serve.own.grammar import Grammar


@dataclass(slots=True, eq=False)
class Answer:
    """A request on its way.

    Attributes:
        request: What was asked.
        whose: The adapter that writes it, None is the base.
        limit: Tokens that the answer may have.
        emit: Gets its tokens.
        grammar: What its text has to fit.
        newest: The last token.
        written: Tokens so far.
        cached: Tokens of the prompt that were known.
    """

    request: Request
    whose: Hashable
    limit: int
    emit: Callable[[Token | Exception], None]
    grammar: Grammar | None = None
    newest: int = -1
    written: int = 0
    cached: int = 0
    config: GenerationConfig = field(init=False)
    stream: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        asked = self.request
        self.config = GenerationConfig(temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p)
        self.stream = stream_of(asked.seed)

    def take(self, token: int, logprob: float, alternatives: tuple[tuple[int, float], ...]) -> bool:
        """Hand the next token out; whether it was the last."""
        self.newest, self.written = token, self.written + 1
        finish: Finish | None = None
        if token in self.request.stop_ids or (self.grammar is not None and self.grammar.take(token)):
            finish = "stop"
        elif self.written == self.limit:
            finish = "length"
        self.emit(Token(token, logprob, alternatives, finish, self.cached if self.written == 1 else 0))
        return finish is not None


class Schedule:
    """Answers by continuous batching (Orca, https://www.usenix.org/conference/osdi22/presentation/yu, section 3).

    Prompts are run in pieces beside the newest tokens of running answers (Sarathi-Serve,
    https://arxiv.org/abs/2403.02310, section 4.2), so that none of these waits for a long prompt.

    Args:
        rows: The batch.
        slots: Answers that are written at once; others wait in the order in which they came.
        piece_tokens: Tokens of prompts that are run at once, beside those of answers.
    """

    def __init__(self, rows: Joining[Any], *, slots: int, piece_tokens: int) -> None:
        self._rows, self._slots, self._piece_tokens = rows, slots, piece_tokens
        self._waiting: deque[Answer] = deque()
        self._opening: list[tuple[Answer, Any]] = []
        self._running: list[Answer] = []

    @property
    def answers(self) -> list[Answer]:
        """All that have not ended."""
        return [*self._waiting, *(answer for answer, _ in self._opening), *self._running]

    def add(self, answer: Answer) -> None:
        """Take a request."""
        self._waiting.append(answer)

    def cancel(self, answer: Answer) -> None:
        """Stop writing an answer, if it is not ready; its slot is free at once."""
        self._waiting = deque(one for one in self._waiting if one is not answer)
        self._opening = [one for one in self._opening if one[0] is not answer]
        if answer in self._running:
            self._leave({self._running.index(answer)})

    def uses(self, whose: Hashable) -> bool:
        """Whether an answer is written by an adapter."""
        return any(answer.whose == whose for answer in self.answers)

    def tick(self) -> None:
        """Run the model once, and hand a token of every answer out that has one."""
        self._open()
        pieces, left = [], self._piece_tokens
        for _, opening in self._opening:
            if left:
                pieces.append((opening, min(left, opening.left)))
                left -= pieces[-1][1]
        if not pieces and not self._running:
            return
        logits = self._rows.run([answer.newest for answer in self._running], pieces)
        ready = [one for one in self._opening if one[1].left == 0]
        places = [*range(len(self._running))]
        places += [len(self._running) + i for i, (opening, _) in enumerate(pieces) if opening.left == 0]
        for answer, opening in ready:
            self._rows.join(opening)
            self._running.append(answer)
        self._opening = [one for one in self._opening if one[1].left]
        if self._running:
            ended = _hand_out(self._running, logits[places])
            if ended:
                self._leave(ended)

    def _open(self) -> None:
        """Begin prompts for free slots, so many as fill a piece.

        One that begins as another does whose beginning is not known yet waits for that.
        """
        while self._waiting and len(self._running) + len(self._opening) < self._slots:
            if sum(opening.left for _, opening in self._opening) >= self._piece_tokens:
                return
            answer = self._waiting[0]
            prompt, whose = answer.request.prompt, answer.whose
            opening = self._rows.begin(whose, prompt)
            others = (one.request.prompt for one, _ in self._opening if one.whose == whose)
            if _longest_common(prompt, others) >= opening.cached + BLOCK:
                return
            answer.cached = opening.cached
            self._opening.append((self._waiting.popleft(), opening))

    def _leave(self, places: Collection[int]) -> None:
        order = self._rows.drop(places)
        self._running = [self._running[place] for place in order]


def _longest_common(prompt: tuple[int, ...], others: Iterable[tuple[int, ...]]) -> int:
    return max((common_prefix_length(prompt, other) for other in others), default=0)


def _hand_out(answers: list[Answer], logits_BV: Tensor) -> set[int]:
    """The next token of each; the places of those that have ended."""
    logits_BV = logits_BV.float()
    allowed_BV = logits_BV
    if any(answer.grammar is not None for answer in answers):
        allowed_BV = logits_BV.clone()
        for row, answer in enumerate(answers):
            if answer.grammar is not None:
                answer.grammar.restrict(allowed_BV[row])
    tokens = choose(allowed_BV, [one.config for one in answers], [one.stream for one in answers])
    total_B = logits_BV.logsumexp(1)
    logprobs = [float(logits_BV[row, token] - total_B[row]) for row, token in enumerate(tokens)]
    alternatives: list[tuple[tuple[int, float], ...]] = [()] * len(answers)
    for row, answer in enumerate(answers):
        if wanted := min(answer.request.logprobs or 0, logits_BV.shape[1]):
            values, ids = (logits_BV[row] - total_B[row]).topk(wanted)
            alternatives[row] = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return {row for row, answer in enumerate(answers) if answer.take(tokens[row], logprobs[row], alternatives[row])}
