"""Keep what frozen layers give for as long as a training runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weitiao.errors import ModelError
from weitiao.forest.layout import build_forest
from weitiao.forest.plan import Plan
from weitiao.methods.method import Method
from weitiao.models.kept_states import KeptStates, num_frozen_layers, require_exact
from weitiao.models.parts import layer_list
from weitiao.models.state_store import StateStore
from weitiao.study.dataset import Tell
from weitiao.training.engine import Engine


@contextmanager
def keeping_states(engine: Engine, plan: Plan, directory: Path, limit_bytes: int, tell: Tell) -> Iterator[None]:
    """Let an objective begin above the frozen layers where it has been before, inside the block.

    It is tried first, on a forest; where it would not be exact to the bit, a line says so.

    Args:
        engine: Of the training, with the objective.
        plan: Of the training; its two shortest items are tried.
        directory: Where states are kept; a file without a name is made there.
        limit_bytes: What they may take; with 0 nothing is kept, and nothing is tried.
        tell: Gets a line about what is kept.
    """
    store = _store(engine, plan, directory, limit_bytes, tell) if limit_bytes > 0 else None
    try:
        yield
    finally:
        engine.objective.kept = None
        if store is not None:
            store.close()


def room_for_states(method: Method, plan: Plan, num_steps: int, spare_bytes: int, engine: Engine) -> int:
    """Bytes that each rank may keep: of what the method allows, what the disk can spare, if batches come again."""
    if method.keep_states is None or num_steps <= plan.steps_per_epoch:
        return 0
    return int(min(method.keep_states * 2**30, spare_bytes)) // engine.num_ranks


def _store(engine: Engine, plan: Plan, directory: Path, limit_bytes: int, tell: Tell) -> StateStore | None:
    """Where the objective keeps states from now on; None where it cannot."""
    model, size = engine.objective.model, f"{limit_bytes / 2**30:.3g} GiB"
    shortest = sorted(plan.items, key=lambda item: item.num_tokens)[:2]
    forest = build_forest(shortest, share_prefixes=plan.share_prefixes)
    try:
        with engine.precision.computing():
            frozen = num_frozen_layers(model, forest)
        if frozen == 0:
            tell("What is below the learning layers learns too, so nothing of it can be kept")
            return None
        with engine.precision.computing():
            require_exact(model, frozen, forest)
    except ModelError as error:
        tell(f"What the frozen layers give is not kept: {error.what}")
        return None
    directory.mkdir(parents=True, exist_ok=True)
    full = f"{size} are full of what the frozen layers gave; it is computed again where it is not among that"
    store = StateStore(directory, limit_bytes, lambda: tell(full))
    engine.objective.kept = KeptStates(model, frozen, store)
    tell(f"{frozen} of {len(layer_list(model))} layers are frozen below: what they give is kept in up to {size}")
    return store
