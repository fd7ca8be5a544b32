"""`weitiao serve`: from what a person names to models behind an address."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weitiao.errors import ModelError
from weitiao.machine.catalogue import CATALOGUE, catalogue_file
from weitiao.methods.open import find_final
from weitiao.models.names import local_path
from weitiao.rendering.render import end_of_turn_id
from weitiao.serve.engine import ServeError
from weitiao.serve.limits import Limits, Slots
from weitiao.serve.models import Models, Writer
from weitiao.serve.routing import ROUTE, Routes
from weitiao.serve.text import ModelText

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

EngineName = Literal["auto", "own", "llama.cpp", "vllm"]
_NAME = re.compile(r"[\w.:/-]{1,100}")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How models are served.

    Attributes:
        engine: `auto` is llama.cpp where there is a GGUF file, and our own engine elsewhere.
        host, port: Where.
        keys: Of which clients have to bring one.
        limits: What is taken on.
        slots: Answers of an engine that are written at once.
        context: Tokens of prompt and answer together; that of the model, but 8,192 at most, if None.
        threads: That compute.
        route: Shares of the models behind the name `default`.
        adapters: LoRA adapters by name.
        adapter_folders: Where those may lie that are loaded while it runs.
    """

    engine: EngineName = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    slots: int = 4
    context: int | None = None
    threads: int
    route: Mapping[str, float] = field(default_factory=dict)
    adapters: Mapping[str, Path] = field(default_factory=dict)
    adapter_folders: tuple[Path, ...] = ()


LONGEST_CONTEXT = 8192
"""Tokens of a context that nobody named: memory is set aside for all of them."""


def serve(targets: Sequence[str], serving: Serving, *, on_ready: Callable[[str, Models], None]) -> None:
    """Serve models until a signal ends it.

    Args:
        targets: Runs, adapters, models, GGUF files, each with a name in front if it is to have another: `NAME=TARGET`.
        serving: How.
        on_ready: Told the URL and the models as soon as requests are taken.

    Raises:
        WeitiaoError: The address is taken, or a model cannot be served.
    """
    from weitiao.serve.running import listening

    named = named_targets(targets)
    if unknown := [name for name in serving.route if name not in {**named, **serving.adapters}]:
        raise ServeError(f"--route: {unknown[0]} is no model that is served.", f"There are: {', '.join(named)}.")
    routes = Routes(serving.route)
    with listening(serving.host, serving.port, has_key=bool(serving.keys)) as at:
        asyncio.run(_serve(named, serving, routes, at, on_ready))


def named_targets(targets: Sequence[str]) -> dict[str, str]:
    """What is served, by name.

    Raises:
        ServeError: Two have the same name, or one is no name.
    """
    found: dict[str, str] = {}
    for target in targets:
        name, equals, rest = target.partition("=")
        if not equals or local_path(target) is not None:
            name, rest = _own_name(target), target
        if not _NAME.fullmatch(name) or name == ROUTE:
            raise ServeError(f"{name!r} cannot be the name of a model.", "Give it another one: NAME=TARGET.")
        if name in found:
            raise ServeError(f"Two models would be called {name}.", "Name them apart: NAME=TARGET.")
        found[name] = rest
    return found


def _own_name(target: str) -> str:
    path = local_path(target)
    if path is None or target in CATALOGUE:
        return target
    resolved = path.resolve()
    return resolved.stem if resolved.is_file() else resolved.name


async def _serve(
    named: Mapping[str, str],
    serving: Serving,
    routes: Routes,
    at: socket.socket,
    on_ready: Callable[[str, Models], None],
) -> None:
    from weitiao.serve.api.app import create_app
    from weitiao.serve.running import run

    writers: list[Writer] = []
    try:
        for name, target in named.items():
            writers += await _writers(name, target, serving)
        models = Models(writers, adapter_folders=serving.adapter_folders)
        app = create_app(models, limits=serving.limits, routes=routes, keys=serving.keys)
        await run(app, at, on_ready=lambda url: on_ready(url, models))
    finally:
        for engine in {id(one.engine): one.engine for one in writers}.values():
            await engine.close()


async def _writers(name: str, target: str, serving: Serving) -> list[Writer]:
    """A model that is loaded, and its adapters."""
    file = gguf_file(target)
    if file is None or serving.engine not in ("auto", "llama.cpp"):
        raise ModelError(
            f"{target} is no GGUF file, and has none.", "Name a .gguf file, or a run that has been exported to GGUF."
        )
    from weitiao.serve.llama import LlamaEngine

    tokenizer = _tokenizer_of(file)
    trained = min(int(tokenizer.model_max_length), 2**31)
    context = serving.context or min(trained, LONGEST_CONTEXT)
    if context > trained:
        raise ServeError(f"--context: {target} was made for {trained:,} tokens, not {context:,}.", "Take fewer.")
    engine = LlamaEngine(
        file, tokenizer, context=context, slots=serving.slots, threads=serving.threads, adapters=serving.adapters
    )
    await engine.start()
    stops = frozenset(one for one in (tokenizer.eos_token_id, end_of_turn_id(tokenizer)) if one is not None)
    text, slots = ModelText(tokenizer, stops), Slots(serving.slots, serving.limits.queue)
    base = Writer(name, str(file), engine, text, slots)
    return [base, *(Writer(one, str(path), engine, text, slots, one) for one, path in serving.adapters.items())]


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
