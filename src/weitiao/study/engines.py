"""From what a person names to an engine that writes, and the text of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weitiao.errors import ModelError
from weitiao.machine.catalogue import CATALOGUE, catalogue_file
from weitiao.methods.open import find_final
from weitiao.models.names import local_path
from weitiao.rendering.render import end_of_turn_id
from weitiao.serve.engine import Engine, ServeError
from weitiao.serve.text import ModelText

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from weitiao.models.config import ModelConfig

EngineName = Literal["auto", "own", "llama.cpp", "vllm"]

LONGEST_CONTEXT = 8192
"""Tokens of a context that nobody named, where memory is set aside for all of them."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How a model is run.

    Attributes:
        engine: `auto` is llama.cpp where there is a GGUF file, and our own engine elsewhere.
        slots: Answers that are written at once.
        context: Tokens of prompt and answer together; that of the model, if None.
        threads: That compute; OMP_NUM_THREADS, or the cores of this machine, where it is None.
        adapters: Further LoRA adapters by name.
        base: The base model of an adapter, where it is not the one that it names.
    """

    engine: EngineName = "auto"
    slots: int = 4
    context: int | None = None
    threads: int | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    base: ModelConfig | None = None


@dataclass(frozen=True, slots=True)
class OpenEngine:
    """An engine that is ready.

    Attributes:
        engine: Has been started; whoever opened it closes it.
        text: Of its model.
        source: The file or the target that it runs.
    """

    engine: Engine
    text: ModelText
    source: str


async def open_engine(target: str, settings: EngineSettings) -> OpenEngine:
    """Start the engine of a model.

    Args:
        target: A run, an adapter, a model by name, path or hub id, or a GGUF file.
        settings: How it is run.

    Raises:
        WeitiaoError: There is no such model, or the engine cannot run it.
    """
    name = settings.engine
    if name == "vllm":
        raise ServeError("vLLM is not supported yet.", "Take another --engine.")
    file = gguf_file(target) if name != "own" else None
    if name == "auto":
        name = "own" if file is None else "llama.cpp"
    if name == "own":
        return await _own(target, settings)
    if file is None:
        raise ModelError(
            f"{target} is no GGUF file, and has none.", "Name a .gguf file, or a run that has been exported to GGUF."
        )
    return await _llama(target, file, settings)


async def _own(target: str, settings: EngineSettings) -> OpenEngine:
    from weitiao.serve.own.engine import OwnEngine, OwnSettings

    how = OwnSettings(slots=settings.slots, context=settings.context, threads=settings.threads)
    engine = OwnEngine(target, adapters=settings.adapters, base=settings.base, settings=how)
    await engine.start()
    return OpenEngine(engine, ModelText(engine.tokenizer, engine.stop_ids), target)


async def _llama(target: str, file: Path, settings: EngineSettings) -> OpenEngine:
    from weitiao.machine.hardware import choose_threads, detect_hardware
    from weitiao.serve.llama import LlamaEngine

    tokenizer = _tokenizer_of(file)
    trained = min(int(tokenizer.model_max_length), 2**31)
    context = settings.context or min(trained, LONGEST_CONTEXT)
    if context > trained:
        raise ServeError(f"--context: {target} was made for {trained:,} tokens, not {context:,}.", "Take fewer.")
    threads = settings.threads or choose_threads(detect_hardware())
    engine = LlamaEngine(
        file, tokenizer, context=context, slots=settings.slots, threads=threads, adapters=settings.adapters
    )
    await engine.start()
    stops = frozenset(one for one in (tokenizer.eos_token_id, end_of_turn_id(tokenizer)) if one is not None)
    return OpenEngine(engine, ModelText(tokenizer, stops), str(file))


def gguf_file(target: str) -> Path | None:
    """The GGUF file of a model: the file itself, that of a catalogue name, or the one that a run was exported to.

    Raises:
        ModelError: There are several.
    """
    if target in CATALOGUE:
        return catalogue_file(target)
    path = local_path(target)
    if path is None:
        return None
    if path.is_file():
        return path if path.suffix.lower() == ".gguf" else None
    place = path / "export" if find_final(target) is not None and (path / "export").is_dir() else path
    found = sorted(file for file in (*place.glob("*.gguf"), *place.glob("*/*.gguf")) if "lora" not in file.parent.name)
    if len(found) > 1:
        told = ", ".join(str(file) for file in found)
        raise ModelError(f"{target} has several GGUF files: {told}.", "Name the one that is to be served.")
    return found[0] if found else None


def _tokenizer_of(file: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a GGUF file: the one that lies beside it, as an export writes it, or that in it."""
    from weitiao.models.cache import kept_gguf_tokenizer
    from weitiao.models.load import read_tokenizer

    beside = (file.parent / "tokenizer.json").is_file()
    return read_tokenizer(file.parent if beside else kept_gguf_tokenizer(file))
