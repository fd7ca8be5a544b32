"""llama.cpp as an engine, and its quantiser, through `cyllama`, which has them ready to use (no compiler is needed)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weitiao.errors import MissingExtraError, ModelError
from weitiao.export.asking import pace, resident_bytes

if TYPE_CHECKING:
    from cyllama.llama import llama_cpp

_SLOTS = 8
"""Answers that are written at once."""
_BATCH = 512


def library() -> Any:
    """`cyllama`'s bindings of llama.cpp, silenced.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from cyllama.llama import llama_cpp as found
    except ModuleNotFoundError as error:
        raise MissingExtraError("Making and running GGUF files", "export") from error
    found.disable_logging()
    return found


def quantize(source: Path, target: Path, file_type: int, threads: int) -> None:
    """Round a GGUF file with llama.cpp's own quantiser.

    Args:
        source: In float32 or float16.
        target: The new file.
        file_type: Number of llama.cpp's `llama_ftype`.
        threads: It works with.

    Raises:
        ModelError: It refused, or the disk is full.
    """
    cpp = library()
    settings = cpp.LlamaModelQuantizeParams()
    settings.ftype, settings.nthread = file_type, threads
    try:
        cpp.model_quantize(str(source), str(target), settings)
    except RuntimeError as error:
        raise ModelError(
            f"llama.cpp cannot round {source.name} to {target.name}: {error}.",
            "Make sure that there is room on the disk; formats below 3 bits need an importance matrix (see docs).",
        ) from error


class LlamaEngine:
    """A GGUF file in llama.cpp, as an `Engine`.

    Answers are written side by side, each in a slot of the context; what a slot has read already, it does not read
    again: rows begin alike, and an answer's prompt was read when its log-probabilities were asked.

    Args:
        path: The file.
        threads: It computes with.

    Raises:
        ModelError: llama.cpp does not load it.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._cpp, self._threads = library(), threads
        try:
            self._model = _model(self._cpp, path)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"llama.cpp cannot load {path}: {error}.", "Export it again.") from error
        self._vocab: llama_cpp.LlamaVocab = self._model.get_vocab()
        self._context: Any = None
        self._room = 0
        self._held: list[list[int]] = []

    def tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self._vocab.tokenize(text, False, True))

    def speed(self, prompt: tuple[int, ...], num_tokens: int) -> float:
        self._open(1, len(prompt) + num_tokens)
        token = self._choose([self._read(0, prompt)])[0]
        times = [time.perf_counter()]
        for place in range(num_tokens - 1):
            token = self._step([(0, token, len(prompt) + place)])[0]
            times.append(time.perf_counter())
        return pace(times)

    def logprobs(self, sequences: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]) -> list[tuple[float, ...]]:
        found: dict[int, tuple[float, ...]] = {}
        for number in sorted(range(len(sequences)), key=lambda one: len(sequences[one][0])):
            ids, places = sequences[number]
            self._open(1, len(ids))
            found[number] = self._logprobs(ids, places)
        return [found[number] for number in range(len(sequences))]

    def answers(
        self, prompts: tuple[tuple[int, ...], ...], stop_ids: frozenset[int], max_new_tokens: int
    ) -> list[tuple[tuple[int, ...], bool]]:
        if not prompts:
            return []
        self._open(_SLOTS, max(map(len, prompts)) + max_new_tokens)
        written: list[list[int]] = [[] for _ in prompts]
        waiting, busy = list(reversed(range(len(prompts)))), dict[int, int]()
        while waiting or busy:
            for slot in range(_SLOTS):
                if slot not in busy and waiting:
                    number = waiting.pop()
                    written[number] += self._choose([self._read(slot, prompts[number])])
                    busy[slot] = number
            for slot, number in list(busy.items()):
                if written[number][-1] in stop_ids or len(written[number]) >= max_new_tokens:
                    del busy[slot]
            if busy:
                last = [(slot, written[n][-1], len(prompts[n]) + len(written[n]) - 1) for slot, n in busy.items()]
                for number, token in zip(busy.values(), self._step(last), strict=True):
                    written[number].append(token)
        return [(tuple(one[:-1]), True) if one[-1] in stop_ids else (tuple(one), False) for one in written]

    @property
    def ends(self) -> frozenset[int]:
        return frozenset(filter(self._vocab.is_eog, range(self._vocab.n_vocab)))

    @property
    def memory_bytes(self) -> int:
        return resident_bytes()

    @property
    def template(self) -> str | None:
        found = self._model.get_default_chat_template()
        return found or None

    def _open(self, slots: int, length: int) -> None:
        """A context with so many slots of so many tokens, and next to none more: by its size LongRoPE chooses how to
        rotate, where transformers goes by the row."""
        room = -(-length // 256) * 256
        if len(self._held) == slots and self._room == room:
            return
        self._room = room
        settings = self._cpp.LlamaContextParams()
        settings.n_ctx, settings.n_seq_max = slots * self._room, slots
        settings.n_batch = settings.n_ubatch = _BATCH
        settings.n_threads = settings.n_threads_batch = self._threads
        self._context = self._cpp.LlamaContext(self._model, settings, verbose=False)
        self._batch = self._cpp.LlamaBatch(n_tokens=_BATCH, embd=0, n_seq_max=slots)
        self._held = [[] for _ in range(slots)]

    def _read(self, slot: int, ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits behind a prompt, which a slot then holds."""
        return self._logits(slot, ids, (len(ids) - 1,))[0]

    def _logits(self, slot: int, ids: Sequence[int], places: Iterable[int]) -> list[NDArray[np.float32]]:
        """The logits at places of a sequence, of which a slot may hold the beginning already."""
        wanted = sorted(set(places))
        kept = self._keep(slot, ids, wanted[0])
        found = []
        for start in range(kept, len(ids), _BATCH):
            part = range(start, min(start + _BATCH, len(ids)))
            self._batch.reset()
            for place in part:
                self._batch.add(ids[place], place, [slot], place in wanted)
            self._context.decode(self._batch)
            found += [self._row(place - start) for place in part if place in wanted]
        self._held[slot] = list(ids)
        return found

    def _keep(self, slot: int, ids: Sequence[int], at_most: int) -> int:
        """Forget what a slot holds beyond the beginning that it shares with a sequence; how long that is."""
        held = self._held[slot]
        pairs = zip(held, ids, strict=False)
        same = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(held), len(ids)))
        same = min(same, at_most)
        if not self._context.memory_seq_rm(slot, same, -1):  # a recurrent state has no beginning to go back to
            self._context.memory_seq_rm(slot, -1, -1)
            return 0
        return same

    def _step(self, last: Sequence[tuple[int, int, int]]) -> list[int]:
        """The next tokens of slots, each given by its number, its last token and the place of that."""
        self._batch.reset()
        for slot, token, place in last:
            self._batch.add(token, place, [slot], True)
            self._held[slot].append(token)
        self._context.decode(self._batch)
        return self._choose(self._row(row) for row in range(len(last)))

    def _row(self, row: int) -> NDArray[np.float32]:
        return np.asarray(self._context.get_logits_ith(row), dtype=np.float32)

    @staticmethod
    def _choose(logits: Iterable[NDArray[np.float32]]) -> list[int]:
        return [int(one.argmax()) for one in logits]

    def _logprobs(self, ids: tuple[int, ...], places: tuple[int, ...]) -> tuple[float, ...]:
        rows = np.stack(self._logits(0, ids[: max(places)], [place - 1 for place in places])).astype(np.float64)
        highest = rows.max(axis=1)
        normal = highest + np.log(np.exp(rows - highest[:, None]).sum(axis=1))
        return tuple((rows[range(len(places)), [ids[place] for place in places]] - normal).tolist())


def _model(cpp: Any, path: Path) -> Any:
    """The model of a file."""

    class Model(cpp.LlamaModel):
        """With an attribute that `LlamaContext.get_logits_ith` of cyllama 0.2.18 reads, and `LlamaModel` lacks."""

        @property
        def n_vocab(self) -> int:
            return int(self.get_vocab().n_vocab)

    return Model(path_model=str(path), verbose=False)


def open_gguf(directory: Path, threads: int) -> LlamaEngine:
    """Open the one GGUF file of a directory."""
    return LlamaEngine(next(directory.glob("*.gguf")), threads)


def missing_ends(path: Path, ends: frozenset[int]) -> list[int]:
    """Those of the tokens at which llama.cpp does not end an answer by itself with this file."""
    return sorted(ends - LlamaEngine(path, 1).ends)
