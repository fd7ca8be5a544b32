"""Asking a model in a process of its own: what an engine needs is measured alone, and when it dies, it dies alone."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Protocol, TypeVar

from weitiao.errors import ModelError
from weitiao.machine.parent import begin_child

if TYPE_CHECKING:
    from weitiao.export.questions import Heard, Questions

T = TypeVar("T")


class Engine(Protocol):
    """Runs an exported model; made anew in the process that it is asked in."""

    def tokens(self, text: str) -> tuple[int, ...]:
        """What the engine makes of a text, in which special tokens are written out."""
        ...

    def speed(self, prompt: tuple[int, ...], num_tokens: int) -> float:
        """Tokens per second of one answer behind a prompt."""
        ...

    def logprobs(self, sequences: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]) -> list[tuple[float, ...]]:
        """Natural log-probabilities of the tokens of each sequence at the places that are asked; where that is slow, of
        the first places only."""
        ...

    def answers(
        self, prompts: tuple[tuple[int, ...], ...], stop_ids: frozenset[int], max_new_tokens: int
    ) -> list[tuple[tuple[int, ...], bool]]:
        """Greedy answers without the token that ended them, and whether one did."""
        ...

    @property
    def ends(self) -> frozenset[int]:
        """The tokens at which the engine ends an answer by itself."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What is held now: on a GPU by PyTorch there, else by the process."""
        ...

    @property
    def template(self) -> str | None:
        """The chat template that comes with the model."""
        ...


Open = Callable[[Path, int], Engine]
"""Opens what lies in a directory, to compute with so many threads; a function of a module, so that it can be sent."""

_SPEED_TOKENS = 48


def alone(what: str, function: Callable[..., T], *arguments: object) -> T:
    """Call a function of a module in a new process; a crash of native code there becomes an error here.

    Args:
        what: What the process does, for the error.
        function: The function; it, its arguments and its result are sent.
        arguments: Of the function.

    Raises:
        ModelError: The process died.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin_child) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise ModelError(
                f"{what} died: out of memory, or stopped by its own check.",
                "Look at the lines above; try with fewer rows (--rows) or a smaller format.",
            ) from error


def resident_bytes() -> int:
    """What this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def pace(times: Sequence[float]) -> float:
    """Tokens per second, by the median of what lies between them: what else the machine does meanwhile counts little.

    Args:
        times: When each token was there, in seconds.
    """
    return 1 / median(later - sooner for sooner, later in pairwise(times)) if len(times) > 1 else 0.0


def ask(open_engine: Open, directory: Path, questions: Questions) -> Heard:
    """Open a model, and put all questions to it; meant for `alone`."""
    from weitiao.export.questions import Heard

    begun = time.perf_counter()
    engine = open_engine(directory, questions.threads)
    loaded = time.perf_counter() - begun
    first = questions.prompts[0] if questions.prompts else questions.sequences[0][0]
    speed = engine.speed(first, _SPEED_TOKENS)
    memory = engine.memory_bytes  # with room for one answer
    answers = engine.answers(questions.prompts, questions.stop_ids or engine.ends, questions.max_new_tokens)
    return Heard(
        ids=tuple(engine.tokens(text) for text in questions.texts),
        logprobs=tuple(engine.logprobs(questions.sequences)),
        answers=tuple(answer for answer, _ in answers),
        stopped=tuple(stopped for _, stopped in answers),
        ends=tuple(sorted(engine.ends)),
        template=engine.template,
        load_seconds=loaded,
        memory_bytes=memory,
        tokens_per_second=speed,
    )
