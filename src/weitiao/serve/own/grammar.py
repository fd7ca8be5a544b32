"""Answers that have to fit a JSON Schema: of each next token, whether it may come.

By llguidance, which vLLM, SGLang and llama.cpp use as well: a wheel of 3 MB without dependencies, typed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from weitiao.errors import MissingExtraError
from weitiao.serve.engine import RequestError

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


WHITESPACE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Only where `json.dumps` has it: free whitespace lets a small model write nothing else, for ever."""


class Grammars:
    """Grammars over the tokens of a model.

    Args:
        tokenizer: Of the model.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._matcher = lru_cache(maxsize=64)(self._made)  # many requests have the same schema

    @cached_property
    def _words(self) -> Any:
        from llguidance.hf import from_tokenizer

        return from_tokenizer(self._tokenizer, n_vocab=len(self._tokenizer))  # a second's work

    def of(self, schema: Mapping[str, Any], stop_ids: frozenset[int]) -> Grammar:
        """What fits a JSON Schema.

        Args:
            schema: The schema.
            stop_ids: Tokens that may end an answer which fits.

        Raises:
            RequestError: It is no schema, no answer can fit it, or it says something that cannot be checked here.
            MissingExtraError: llguidance is not installed.
        """
        if find_spec("llguidance") is None:
            raise MissingExtraError("An answer that fits a JSON Schema", "serve")
        try:
            text = json.dumps(schema)
        except (TypeError, ValueError) as error:
            raise _refused(str(error)) from error
        return Grammar(self._matcher(text).deep_copy(), stop_ids)

    def _made(self, schema: str) -> LLMatcher:
        from llguidance import LLMatcher

        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides=WHITESPACE)  # type: ignore[arg-type]
        except ValueError as error:
            raise _refused(str(error)) from error
        matcher = LLMatcher(self._words, grammar, log_level=0)
        if matcher.is_error():
            raise _refused(matcher.get_error())
        return matcher


def _refused(reason: str) -> RequestError:
    first = reason.strip().splitlines()[0] if reason.strip() else "it is no JSON Schema"
    return RequestError(f"The JSON Schema cannot be met: {first}", "Change the schema, or leave it out.")


class Grammar:
    """What may be written next in one answer."""

    def __init__(self, matcher: LLMatcher, stop_ids: frozenset[int]) -> None:
        self._matcher, self._stop_ids = matcher, sorted(stop_ids)

    def restrict(self, logits_V: Tensor) -> None:
        """Make every token impossible that may not come next, in place."""
        import torch  # not at the top: llama.cpp is served without it

        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.zeros(len(logits_V), bool)
        known = np.unpackbits(bits, bitorder="little")[: len(logits_V)].astype(bool)
        allowed[: len(known)] = known
        stops = [token for token in self._stop_ids if token < len(logits_V)]
        allowed[stops] = self._matcher.is_accepting()
        logits_V.masked_fill_(torch.from_numpy(~allowed).to(logits_V.device), -torch.inf)

    def take(self, token: int) -> bool:
        """Go on behind a token; whether the schema is fulfilled and nothing more can come."""
        self._matcher.consume_token(token)
        return self._matcher.is_stopped()
