"""What an objective takes from the model as the run begins it: computed once, and kept in the run directory.

A run that goes on has other weights by then, and reads what it began with.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from weitiao.errors import RunError
from weitiao.files import in_one_step
from weitiao.forest.layout import Forest
from weitiao.models.parts import evaluating
from weitiao.objectives.columns import AtTargets, computed_columns, with_columns
from weitiao.recipe import Recipe
from weitiao.rendering.items import Item, sequences_of
from weitiao.rendering.report import counted
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import Tell, items_fingerprint
from weitiao.training.engine import Engine


def reference_key(recipe: Recipe, model: str, items: Sequence[Item]) -> str:
    """What columns of a reference are made from.

    Args:
        recipe: Resolved; how the model is loaded and how it begins.
        model: Fingerprint of the weights that the run begins with.
        items: They are of these.
    """
    begun = recipe.method.model_dump(mode="json", exclude={"start"}), recipe.model.quantization
    made_from = json.dumps([model, items_fingerprint(items), *begun], sort_keys=True, default=str)
    return hashlib.sha256(made_from.encode()).hexdigest()


def with_reference(
    items: Sequence[Item],
    part: str,
    engine: Engine,
    recipe: Recipe,
    run: RunDir,
    model: str,
    tell: Tell,
    *,
    begun: bool,
) -> tuple[Item, ...]:
    """Items with the columns that the objective needs, from the run directory or by the model as it is.

    Args:
        items: Of a part of the data.
        part: Its name.
        engine: With the objective; its model is that of the beginning, unless the run has begun.
        recipe: With a token budget.
        run: Where the columns are kept.
        model: Fingerprint of the weights that the run begins with.
        tell: Gets the line that a person should see.
        begun: Whether steps have been made.

    Raises:
        RunError: They are not there, and the model is no longer that of the beginning.
    """
    if not (engine.objective.needs and items):
        return tuple(items)
    path, key = run.reference / f"{part}.safetensors", reference_key(recipe, model, items)
    found = engine.from_main(lambda: read_columns(path, key, items))
    if found is None and begun:
        raise RunError(
            f"{path} is not what the run computed before its first step, and its model has learned since.",
            "Put the file back, or start another run.",
        )
    if found is None:
        start = time.perf_counter()
        found = computed_by_all(items, engine, recipe, engine.objective, engine.objective.reference)
        engine.on_main(lambda: write_columns(path, {"key": key}, found))
        seconds = time.perf_counter() - start
        tell(
            f"{part}: what the model says of {counted(len(items), 'row')} before it learns: computed in {seconds:.1f} s"
        )
    return with_columns(items, found)


def read_columns(path: Path, key: str, items: Sequence[Item]) -> AtTargets | None:
    """The columns of items from a file; None where it does not have those of this key."""
    if not path.is_file():
        return None
    with safe_open(path, "np") as file:
        if (file.metadata() or {}).get("key") != key:
            return None
        whole = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    cuts = np.cumsum([one.num_learned for one in sequences_of(items)])[:-1]
    parts = {name: np.split(values, cuts) for name, values in whole.items()}
    return [{name: parts[name][index] for name in parts} for index in range(len(cuts) + 1)]


def write_columns(path: Path, made_from: Mapping[str, str], columns: AtTargets) -> None:
    """Write columns of items, with what they are made from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
    with in_one_step(path) as beside:
        save_file(whole, beside, metadata=dict(made_from))


def computed_by_all(
    items: Sequence[Item],
    engine: Engine,
    recipe: Recipe,
    module: nn.Module,
    compute: Callable[[Forest], Mapping[str, Tensor]],
) -> AtTargets:
    """Columns of items, of which every rank computes its share.

    Args:
        items: Of a part of the data.
        engine: Of the training.
        recipe: With a token budget.
        module: What computes, in evaluation mode meanwhile.
        compute: From a forest to numbers at its targets, by name.
    """
    mine = range(engine.rank, len(items), engine.num_ranks)
    with evaluating(module), engine.precision.computing():
        found = computed_columns(
            [items[index] for index in mine],
            compute,
            token_budget=int(recipe.train.token_budget),
            share_prefixes=recipe.train.share_prefixes,
        )
    of_sequences = iter(found)
    of_items = [(index, [next(of_sequences) for _ in items[index].sequences]) for index in mine]
    return [one for _, columns in sorted(engine.collect(of_items), key=lambda pair: pair[0]) for one in columns]
