"""`weitiao serve`: from what a person names to models behind an address."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weitiao.errors import DataError
from weitiao.machine.catalogue import CATALOGUE
from weitiao.models.names import local_path
from weitiao.serve.engine import ServeError
from weitiao.serve.limits import Limits
from weitiao.serve.models import Models
from weitiao.serve.routing import ROUTE, Routes
from weitiao.study.engines import EngineSettings
from weitiao.study.serving import adapter_text, close_all, load_models

_NAME = re.compile(r"[\w.:/-]{1,100}")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How models are served.

    Attributes:
        engines: How models are run.
        host, port: Where.
        keys: Of which clients have to bring one.
        limits: What is taken on.
        route: Shares of the models behind the name `default`.
        adapter_folders: Where those may lie that are loaded while it runs.
        feedback: The file for answers and what is said of them; None keeps none.
        keep_texts: Whether prompts and answers are kept there.
        keep_days: For how long all of it is kept.
    """

    engines: EngineSettings
    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    route: Mapping[str, float] = field(default_factory=dict)
    adapter_folders: tuple[Path, ...] = ()
    feedback: Path | None = None
    keep_texts: bool = True
    keep_days: float | None = None


def serve(targets: Sequence[str], serving: Serving, *, on_ready: Callable[[str, Models, Routes], None]) -> None:
    """Serve models until a signal ends it.

    Args:
        targets: Runs, adapters, models, GGUF files, each with a name in front if it is to have another: `NAME=TARGET`.
        serving: How.
        on_ready: Told the URL, the models and the route as soon as requests are taken.

    Raises:
        WeitiaoError: The address is taken, or a model cannot be served.
    """
    from weitiao.serve.running import listening

    named = named_targets(targets)
    known = {**named, **serving.engines.adapters}
    if unknown := [name for name in serving.route if name not in known]:
        raise ServeError(f"--route: {unknown[0]} is no model that is served.", f"There are: {', '.join(known)}.")
    if twice := [name for name in serving.engines.adapters if name in named]:
        raise ServeError(f"Two models would be called {twice[0]}.", "Name them apart: NAME=TARGET.")
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


def shares(text: str) -> dict[str, float]:
    """The shares of a route as they are written: `tuned=0.2,base=0.8`.

    Raises:
        DataError: They are not written so.
    """
    found = {}
    for one in text.split(","):
        name, _, share = one.strip().rpartition("=")
        try:
            found[name] = float(share)
        except ValueError:
            name = ""
        if not name:
            raise DataError(f"--route: {one!r} is not NAME=SHARE.", "Write, for instance, tuned=0.2,base=0.8.")
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
    on_ready: Callable[[str, Models, Routes], None],
) -> None:
    from weitiao.feedback.traffic import TrafficStore
    from weitiao.serve.running import run

    store = None if serving.feedback is None else TrafficStore(serving.feedback, keep_texts=serving.keep_texts)
    if store is not None and serving.route:
        begun = store.begin_route(serving.route)
        if begun != routes.weights and begun.keys() <= {*named, *serving.engines.adapters}:
            routes.set(begun)
    writers, judges = await load_models(named, serving.engines, queue=serving.limits.queue)
    try:
        from weitiao.serve.api.app import create_app  # while models load in other processes

        models = Models(writers, judges, adapter_folders=serving.adapter_folders, adapter_text=adapter_text)
        app = create_app(
            models, limits=serving.limits, routes=routes, keys=serving.keys, store=store, keep_days=serving.keep_days
        )
        await run(app, at, on_ready=lambda url: on_ready(url, models, routes))
    finally:
        await close_all(writers)
