"""From what a person names to an engine that writes, and the text of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weitiao.errors import ModelError, WeitiaoError
from weitiao.machine.catalogue import CATALOGUE, catalogue_file
from weitiao.methods.open import find_final
from weitiao.models.directory import read_json_object
from weitiao.models.names import local_path
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.render import end_of_turn_id
from weitiao.rendering.templates import apply_template
from weitiao.serve.engine import Engine, ServeError
from weitiao.serve.text import ModelText
from weitiao.verdict.exported import EXPORTS_FILE, read_exports, smallest_good

if TYPE_CHECKING:
    from weitiao.models.config import ModelConfig
    from weitiao.models.quantization import Quantization

EngineName = Literal["auto", "own", "llama.cpp", "vllm"]

LONGEST_CONTEXT = 8192
"""Tokens of a context that nobody named, where memory is set aside for all of them."""
_UNBOUNDED = 2**31


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
        quantization: What our own engine rounds the weights of an untuned model to; tuned ones say that themselves.
        vllm: The program of vLLM, or the directory of its environment.
        template: The chat template that prompts are printed with, as `rendering.template`; None is the model's own.
    """

    engine: EngineName = "auto"
    slots: int = 4
    context: int | None = None
    threads: int | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    base: ModelConfig | None = None
    quantization: Quantization | None = None
    vllm: Path = Path("vllm")
    template: str | None = None


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
    opened = await _opened(target, settings)
    if settings.template is None:
        return opened
    try:
        return replace(opened, text=_with_template(opened.text, settings.template))
    except WeitiaoError:
        await opened.engine.close()
        raise


def _with_template(text: ModelText, template: str) -> ModelText:
    """The same model asked with another template; what ends its own turns ends answers, too."""
    apply_template(text.tokenizer, RenderingConfig(template=template))
    end = end_of_turn_id(text.tokenizer)
    return ModelText(text.tokenizer, text.stop_ids | ({end} if end is not None else set()))


async def _opened(target: str, settings: EngineSettings) -> OpenEngine:
    name = settings.engine
    if settings.quantization is not None and name not in ("auto", "own"):
        raise ServeError(f"--quantization: {name} rounds no weights.", "Leave it out, or take --engine own.")
    if name == "vllm":
        return await _vllm(target, settings)
    file = gguf_file(target) if name != "own" and settings.quantization is None else None
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
    base = settings.base
    if settings.quantization is not None:
        from weitiao.models.config import ModelConfig

        if find_final(target) is not None:
            what = f"--quantization: {target} is tuned, and served on the base that it was tuned on."
            raise ServeError(what, "Leave it out; export --to nf4 rounds a tuned model.")
        base = ModelConfig(name=target, quantization=settings.quantization)
    engine = OwnEngine(target, adapters=settings.adapters, base=base, settings=how)
    await engine.start()
    return OpenEngine(engine, ModelText(engine.tokenizer, engine.stop_ids), target)


async def _llama(target: str, file: Path, settings: EngineSettings) -> OpenEngine:
    from weitiao.machine.hardware import threads_without_torch
    from weitiao.serve.llama import LlamaEngine

    tokenizer = tokenizer_directory(file)
    trained = _trained_context(tokenizer)
    context = settings.context or min(trained, LONGEST_CONTEXT)
    if context > trained:
        raise ServeError(f"--context: {target} was made for {trained:,} tokens, not {context:,}.", "Take fewer.")
    for name, path in settings.adapters.items():
        if not path.is_file():
            raise ServeError(f"The adapter {name}: {path} is no file.", "llama.cpp takes adapters in GGUF.")
    threads = settings.threads or threads_without_torch()
    engine = LlamaEngine(
        file, tokenizer, context=context, slots=settings.slots, threads=threads, adapters=settings.adapters
    )
    await engine.start()
    ends = (engine.tokenizer.eos_token_id, end_of_turn_id(engine.tokenizer))
    stops = frozenset(one for one in ends if one is not None)
    chosen = ", the smallest export that is still good" if len(_gguf_files(target)) > 1 else ""
    return OpenEngine(engine, ModelText(engine.tokenizer, stops), f"{file}{chosen}")


async def _vllm(target: str, settings: EngineSettings) -> OpenEngine:
    from weitiao.methods.base import base_model, find_moved
    from weitiao.methods.open import final_tokenizer
    from weitiao.models.config import ModelConfig
    from weitiao.models.load import load_config
    from weitiao.models.names import resolve_model
    from weitiao.models.parts import context_length
    from weitiao.serve.own.adapters import is_adapter, read_adapter
    from weitiao.serve.vllm import VllmEngine

    final = find_final(target)
    config = settings.base or ModelConfig(name=target)
    if final is not None:
        config = find_moved(config, final) if settings.base else base_model(final)
    tuned = final is not None and is_adapter(final)
    if final is not None and tuned:
        read_adapter(final)  # what is more than LoRA beside linear layers, vLLM does not take
    model = resolve_model(config if final is None or tuned else config.moved_to(str(final)))
    trained = context_length(load_config(ModelConfig(name=str(model)))) or LONGEST_CONTEXT
    context = settings.context or trained
    if context > trained:
        raise ServeError(f"--context: {target} was made for {trained:,} tokens, not {context:,}.", "Take fewer.")
    finals = {name: find_final(path) or path for name, path in settings.adapters.items()}
    engine = VllmEngine(
        model, program=settings.vllm, context=context, slots=settings.slots, adapters=finals,
        own=final if tuned else None,
    )  # fmt: skip
    await engine.start()
    tokenizer = final_tokenizer(final or model, config)
    stops = frozenset(one for one in (tokenizer.eos_token_id, end_of_turn_id(tokenizer)) if one is not None)
    return OpenEngine(engine, ModelText(tokenizer, stops), target)


def gguf_file(target: str) -> Path | None:
    """The GGUF file of a model: the file itself, that of a catalogue name, or the one that a run was exported to: of
    several the smallest that is still good, which is the one to ship.

    Raises:
        ModelError: There are several, and none of them is known to be good.
    """
    found = _gguf_files(target)
    if len(found) < 2:
        return found[0] if found else None
    run = local_path(target)
    exports = read_exports(run) if run is not None and (run / EXPORTS_FILE).is_file() else None
    models = [] if exports is None else [one for one in exports.models if one.path is not None]
    files = {file.parent.resolve(): file for file in found}
    best = smallest_good([one for one in models if one.path is not None and one.path.resolve() in files])
    if best is None or best.path is None:
        told = ", ".join(str(file) for file in found)
        raise ModelError(
            f"{target} has several GGUF files, and none that was measured to be good: {told}.",
            "Name the one that is to be served.",
        )
    return files[best.path.resolve()]


def _gguf_files(target: str) -> list[Path]:
    if target in CATALOGUE:
        return [catalogue_file(target)]
    path = local_path(target)
    if path is None or path.is_file():
        return [path] if path is not None and path.suffix.lower() == ".gguf" else []
    place = path / "export" if find_final(target) is not None and (path / "export").is_dir() else path
    files = (*place.glob("*.gguf"), *place.glob("*/*.gguf"))
    return sorted(file for file in files if "lora" not in file.parent.name)


def tokenizer_directory(file: Path) -> Path:
    """Where the tokenizer of a GGUF file lies: beside it, as an export writes it, or taken out of it."""
    from weitiao.models.cache import kept_gguf_tokenizer

    return file.parent if (file.parent / "tokenizer.json").is_file() else kept_gguf_tokenizer(file)


def _trained_context(tokenizer: Path) -> int:
    """The context of the model of a tokenizer, before that is read: llama.cpp loads the model meanwhile."""
    file = tokenizer / "tokenizer_config.json"
    found = read_json_object(file).get("model_max_length") if file.is_file() else None
    return min(int(found or _UNBOUNDED), _UNBOUNDED)
