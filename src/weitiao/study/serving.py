"""The models that `weitiao serve` loads: which of them share a base, and how their text is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.methods.open import find_final
from weitiao.models.names import local_path
from weitiao.rendering.render import end_of_turn_id
from weitiao.serve.engine import ServeError
from weitiao.serve.limits import Slots
from weitiao.serve.models import Judge, Writer
from weitiao.serve.text import ModelText
from weitiao.study.engines import EngineSettings, gguf_file, open_engine

if TYPE_CHECKING:
    from weitiao.data.example import Message

Group = dict[str, str]
"""Targets by name: first what requests without an adapter mean; the others are plain LoRA adapters on its base."""


async def load_models(
    named: Mapping[str, str], engines: EngineSettings, *, queue: int
) -> tuple[list[Writer], list[Judge]]:
    """Load everything that is served; of engines that were started none is left running when one fails.

    Args:
        named: Targets by name.
        engines: How models are run.
        queue: Answers of each that may wait for a slot.

    Raises:
        WeitiaoError: Something cannot be served.
    """
    judges = [await asyncio.to_thread(_judge, name, target) for name, target in named.items() if _is_judge(target)]
    writing = {name: target for name, target in named.items() if not _is_judge(target)}
    if engines.adapters and len(writing) != 1:
        raise ServeError("--adapter: adapters belong to one model, and not one is served.", "Serve their base alone.")
    by_file = {
        name: target
        for name, target in writing.items()
        if engines.engine == "llama.cpp" or (engines.engine == "auto" and gguf_file(target) is not None)
    }
    plain = {name: target for name, target in writing.items() if name not in by_file}
    groups = [{name: target} for name, target in by_file.items()]
    groups += await asyncio.to_thread(_groups, plain) if plain else []
    writers: list[Writer] = []
    try:
        for group in groups:
            writers += await _writers(group, engines, queue)
    except BaseException:
        await close_all(writers)
        raise
    return writers, judges


async def close_all(writers: Sequence[Writer]) -> None:
    """Stop the engines of models."""
    for engine in {id(one.engine): one.engine for one in writers}.values():
        await engine.close()


def adapter_text(directory: Path, base: Writer) -> ModelText:
    """The text of an adapter: with the tokenizer that it brings, or that of its base."""
    final = find_final(directory) if directory.is_dir() else None
    if final is None or not (final / "tokenizer.json").is_file():
        return base.text
    from weitiao.models.load import read_tokenizer

    tokenizer = read_tokenizer(final)
    own = {one for one in (tokenizer.eos_token_id, end_of_turn_id(tokenizer)) if one is not None}
    return ModelText(tokenizer, base.text.stop_ids | own)


async def _writers(group: Group, engines: EngineSettings, queue: int) -> list[Writer]:
    """The models of a group, on one engine."""
    (name, target), *others = group.items()
    adapters = {**{other: Path(one) for other, one in others}, **engines.adapters}
    opened = await open_engine(target, replace(engines, adapters=adapters))
    base = Writer(name, opened.source, opened.engine, opened.text, Slots(opened.engine.served.slots, queue))
    return [
        base,
        *(
            Writer(other, str(path), opened.engine, adapter_text(path, base), base.slots, other)
            for other, path in adapters.items()
        ),
    ]


def _groups(named: Mapping[str, str]) -> list[Group]:
    """Models and adapters by their base; one that cannot stand beside others stands alone."""
    from weitiao.methods.base import base_model
    from weitiao.models.config import ModelConfig
    from weitiao.models.names import resolve_model
    from weitiao.serve.own.adapters import is_adapter, read_adapter

    models: dict[Path, Group] = {}
    adapters: dict[Path, Group] = {}
    alone: list[Group] = []
    for name, target in named.items():
        final = find_final(target)
        if final is None:
            base = resolve_model(ModelConfig(name=target))
            if base in models:  # the same once more, under another name
                alone.append({name: target})
            else:
                models[base] = {name: target}
        elif not is_adapter(final):
            alone.append({name: target})
        else:
            try:
                read_adapter(final)
            except ServeError:
                alone.append({name: target})
            else:
                adapters.setdefault(resolve_model(base_model(final)), {})[name] = target
    bases = dict.fromkeys((*models, *adapters))
    return [*({**models.get(base, {}), **adapters.get(base, {})} for base in bases), *alone]


def _is_judge(target: str) -> bool:
    from weitiao.methods.classifier import is_classifier

    place = find_final(target) or local_path(target)
    return place is not None and place.is_dir() and is_classifier(place)


def _judge(name: str, target: str) -> Judge:
    """A reward model; what it says is what `weitiao score` says."""
    from weitiao.data.example import Example
    from weitiao.methods.scorer import open_scorer
    from weitiao.objectives.reward import reward_items
    from weitiao.study.score import conversations, scores_of
    from weitiao.study.setup import device_here

    scorer = open_scorer(target, device=device_here())

    def score(several: Sequence[Sequence[Message]]) -> list[float]:
        examples = [Example(f"messages[{index}]", tuple(one)) for index, one in enumerate(several)]
        sequences = conversations(examples, scorer, _quiet, skip=False)
        return scores_of(scorer, reward_items(sequences, 1), _quiet)

    return Judge(name, target, score)


def _quiet(_: str) -> None:
    """Nobody reads what there is to say of single requests."""
