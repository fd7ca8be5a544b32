"""What every engine does that writes answers for a server: token ids in, token ids out, one at a time.

Engines know nothing of text, templates, stop strings or HTTP: prompts are rendered, and answers read, by the same code
for all of them, which is that of training and evaluation (`serve/text.py`). So what is served is what was tested.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from weitiao.errors import WeitiaoError

Finish = Literal["stop", "length"]


class ServeError(WeitiaoError):
    """A model cannot be served as it was asked."""


class RequestError(ServeError):
    """A request asks for what no engine, or this one, can do: a schema that cannot be met, for instance."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt and how its answer is written.

    Attributes:
        prompt: Token ids, not empty, with room for at least one more in the context.
        adapter: Name of the adapter, of those that the engine has; None is the base, or the one model that there is.
        max_tokens: Tokens after which the answer is broken off; the engine stops earlier where its context ends.
        stop_ids: Tokens that end the answer; the one that does is handed out too.
        temperature: 0 takes the most likely token.
        top_k, top_p: As in `GenerationConfig`.
        seed: Of the draws: the same request gives the same answer, whatever else is answered beside it.
        logprobs: Alternatives that are handed out with each token, the most likely first; None where nobody asks for
            probabilities at all, and an engine need not compute them.
        schema: A JSON Schema that the answer's text has to fit.
    """

    prompt: tuple[int, ...]
    adapter: str | None = None
    max_tokens: int = 256
    stop_ids: frozenset[int] = frozenset()
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0
    logprobs: int | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Token:
    """A token of an answer.

    Attributes:
        id: The token.
        logprob: Its natural log-probability under the model itself, before temperature, top-k, top-p or schema; NaN
            where the engine does not know it (llama.cpp, inside of characters that are several tokens), or was not
            asked for it.
        alternatives: The most likely tokens here with theirs, as many as were asked for.
        finish: With the last token: `stop` after one of `stop_ids` or where a schema is fulfilled, `length` else.
        cached: With the first token: how many tokens of the prompt were known from earlier requests.
    """

    id: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()
    finish: Finish | None = None
    cached: int = 0


@dataclass(frozen=True, kw_only=True)
class Served:
    """What an engine has loaded.

    Attributes:
        name: Of the engine, for `/health` and logs: `own`, `llama.cpp`, `vllm`.
        context: Tokens of prompt and answer together.
        slots: Answers that are written at once.
        adapters: Name and directory of each.
    """

    name: str
    context: int
    slots: int
    adapters: Mapping[str, Path] = field(default_factory=dict)


class Engine(Protocol):
    """Writes answers. One model; on it, where the engine can, any number of adapters, mixed in a batch."""

    @property
    def served(self) -> Served:
        """What is loaded now."""
        ...

    async def start(self) -> None:
        """Load, and be ready for requests.

        Raises:
            WeitiaoError: The model cannot be loaded by this engine, or answers wrongly.
        """
        ...

    def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        """Write an answer; whoever stops reading (`aclose`) ends the computation of it.

        Raises:
            RequestError: The engine cannot do what is asked; before the first token.
            ServeError: The engine died, or it does not know the adapter.
        """
        ...

    async def load_adapter(self, name: str, directory: Path) -> None:
        """Take an adapter while requests are answered.

        Raises:
            ServeError: The engine cannot, or the adapter does not fit.
        """
        ...

    async def unload_adapter(self, name: str) -> None:
        """Let go of an adapter when its last running answer has ended."""
        ...

    async def close(self) -> None:
        """Stop at once; running answers end with an error."""
        ...
