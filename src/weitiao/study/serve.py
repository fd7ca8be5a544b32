"""`weitiao serve`: from what a person names to models behind an address."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weitiao.machine.catalogue import CATALOGUE
from weitiao.models.names import local_path
from weitiao.serve.engine import ServeError
from weitiao.serve.limits import Limits, Slots
from weitiao.serve.models import Models, Writer
from weitiao.serve.routing import ROUTE, Routes
from weitiao.study.engines import EngineSettings, open_engine

_NAME = re.compile(r"[\w.:/-]{1,100}")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How models are served.

    Attributes:
        engines: How each of them is run.
        host, port: Where.
        keys: Of which clients have to bring one.
        limits: What is taken on.
        route: Shares of the models behind the name `default`.
        adapter_folders: Where those may lie that are loaded while it runs.
    """

    engines: EngineSettings
    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    route: Mapping[str, float] = field(default_factory=dict)
    adapter_folders: tuple[Path, ...] = ()


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
    if unknown := [name for name in serving.route if name not in {**named, **serving.engines.adapters}]:
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
    opened = await open_engine(target, serving.engines)
    engine, text = opened.engine, opened.text
    slots = Slots(engine.served.slots, serving.limits.queue)
    base = Writer(name, opened.source, engine, text, slots)
    adapters = serving.engines.adapters.items()
    return [base, *(Writer(one, str(path), engine, text, slots, one) for one, path in adapters)]
