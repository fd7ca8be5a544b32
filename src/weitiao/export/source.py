"""The tuned model that is exported, and what several formats make of it on the way: done once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from weitiao.export.asking import alone
from weitiao.export.converter import Converter
from weitiao.export.importance import importance
from weitiao.export.sentencepiece import beside_sentencepiece
from weitiao.files import COMPLETE, writable
from weitiao.methods.adapter import ADAPTER_CONFIG
from weitiao.models.config import ModelConfig
from weitiao.models.names import resolve_model

if TYPE_CHECKING:
    from weitiao.models.directory import StoredDtype
    from weitiao.rendering.items import TokenSequence


@dataclass(frozen=True, slots=True)
class Source:
    """What is exported.

    Attributes:
        final: The directory of the tuned weights.
        base: The base model, where it is now.
        weights: Hash of both.
        ends: Tokens that end an answer.
        threads: To compute with.
        work: Where what formats have in common lies, in float32, until all are made.
        rows: Some that it learned, by which formats of few bits are rounded.
        llama_cpp: A checkout of llama.cpp; None for the one that is packaged.
    """

    final: Path
    base: ModelConfig
    weights: str
    ends: frozenset[int]
    threads: int
    work: Path
    rows: tuple[TokenSequence, ...] = ()
    llama_cpp: Path | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether the tuned weights are an adapter of PEFT."""
        return (self.final / ADAPTER_CONFIG).exists()

    def whole(self) -> Path:
        """The tuned model as a plain Hugging Face directory in float32."""
        target = self.work / "whole"
        if not target.exists():
            self.write_whole(target, "float32")
        return target

    def write_whole(self, target: Path, dtype: StoredDtype) -> None:
        """Write the tuned model as a plain Hugging Face directory; an adapter is merged, and the merge checked.

        Raises:
            WeitiaoError: The adapter cannot be merged, or does not answer alike afterwards.
        """
        from weitiao.export.merge import merge, rewrite

        if self.is_adapter:
            merge(self.final, target, base=self.base, dtype=dtype)
            (target / COMPLETE).unlink()  # what it becomes a part of gets its own
        else:
            target.mkdir(exist_ok=True)
            rewrite(self.final, target, base=self.base, dtype=dtype)

    def importance(self) -> dict[str, NDArray[np.float32]]:
        """How much each input of a linear layer counts on `rows`; empty without any."""
        from safetensors.numpy import load_file, save_file

        kept = self.work / "importance.safetensors"
        if self.rows and not kept.exists():
            save_file(alone("The tuned model", importance, self.whole(), self.rows, self.threads), kept)
        return load_file(kept) if self.rows else {}

    def gguf(self) -> Path:
        """The tuned model as GGUF in float32, with every token at which answers end.

        Raises:
            ModelError: llama.cpp does not know the family or the tokenizer.
            MissingExtraError: What makes and reads such files is not installed.
        """
        from weitiao.export.llama_engine import library, missing_ends

        target = self.work / "whole.gguf"
        if target.exists():
            return target
        library()  # what is missing is said before anything is computed
        converter, plain = Converter(self.llama_cpp), self.work / "plain.gguf"
        beside = beside_sentencepiece(self.whole(), resolve_model(self.base), self.work / "beside")
        converter.model(beside, plain, "f32")
        if missing := alone("llama.cpp", missing_ends, plain, self.ends):
            converter.with_ends(plain, target, missing)
            plain.unlink()
        else:
            plain.rename(target)
        return target


@contextmanager
def working_directory(output: Path) -> Iterator[Path]:
    """A directory beside the exports for what they have in common: gone at the end, with what a kill left there."""
    work = output / "work.part"
    with writable(output, "The exports"):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
