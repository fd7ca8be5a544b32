"""Transformers as an engine: the tuned model itself, and whatever is exported as a Hugging Face directory."""

from __future__ import annotations

import time
from pathlib import Path

from weitiao.evaluation.likelihood import token_logprobs
from weitiao.export.asking import pace, resident_bytes
from weitiao.generation.config import GenerationConfig
from weitiao.generation.decode import decode
from weitiao.generation.generate import stop_ids
from weitiao.machine.cgroup import peak_bytes
from weitiao.methods.answering import answer
from weitiao.methods.open import OpenModel, open_model
from weitiao.models.config import ModelConfig
from weitiao.models.quantization import quiet_int8
from weitiao.rendering.items import TokenSequence

_TOKEN_BUDGET = 4096


class TorchEngine:
    """A model that is open, as an `Engine`.

    Args:
        opened: With forest attention.
    """

    def __init__(self, opened: OpenModel) -> None:
        self._model, self._tokenizer = opened.model, opened.tokenizer

    def tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def speed(self, prompt: tuple[int, ...], num_tokens: int) -> float:
        config = GenerationConfig(max_new_tokens=num_tokens)
        steps = decode(self._model, [prompt], config, stop_ids=frozenset(), numbers=[0])
        return pace([time.perf_counter() for _ in steps])

    def logprobs(self, sequences: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]) -> list[tuple[float, ...]]:
        marked = [
            TokenSequence.of(str(number), ids, [float(place in places) for place in range(len(ids))])
            for number, (ids, places) in enumerate(sequences)
        ]
        return token_logprobs(self._model, marked, token_budget=_TOKEN_BUDGET)

    def answers(
        self, prompts: tuple[tuple[int, ...], ...], stop_ids: frozenset[int], max_new_tokens: int
    ) -> list[tuple[tuple[int, ...], bool]]:
        written = answer(self._model, prompts, GenerationConfig(max_new_tokens=max_new_tokens), stop_ids=stop_ids)
        return [(one.token_ids, one.stopped) for one in written]

    @property
    def ends(self) -> frozenset[int]:
        return stop_ids(self._model, self._tokenizer)

    @property
    def memory_bytes(self) -> int:
        return peak_bytes("cuda") if self._model.device.type == "cuda" else resident_bytes()

    @property
    def template(self) -> str | None:
        template = self._tokenizer.chat_template
        return template if isinstance(template, str) else None


def open_whole(directory: Path, threads: int) -> TorchEngine:
    """Open a directory with a whole model, rounded or not; what is not rounded computes in float32 on a CPU."""
    return _open(directory, ModelConfig(name=str(directory), dtype="float32"), threads)


def open_tuned(directory: Path, threads: int, *, base: ModelConfig) -> TorchEngine:
    """Open what a training left, with its base model: the tuned model itself."""
    return _open(directory, base, threads)


def _open(directory: Path, config: ModelConfig, threads: int) -> TorchEngine:
    import torch

    torch.set_num_threads(threads)
    quiet_int8()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchEngine(open_model(directory, base=config, device=device))
