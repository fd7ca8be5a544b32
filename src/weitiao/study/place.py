"""Where the results of a command by hand go: into the run directory what is the run's own, beside it all else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from weitiao.errors import WeitiaoError
from weitiao.recipe import Recipe, differences, load_recipe
from weitiao.study.dataset import Tell

_NO_INFLUENCE = (
    "data.clean", "model.attention", "model.map_weights", "evaluate.generation.batch_size",
    "evaluate.generation.token_budget", "evaluate.generation.share_prefixes", "retention.token_budget",
)  # fmt: skip


def place_of_results(recipe: Recipe, verb: str, sections: Sequence[str], tell: Tell) -> Path:
    """The directory that the results of a command go to.

    That is the run directory as long as the settings that they depend on are those of the run. Results of other rows,
    settings or models would otherwise stand under the run's verdict as if they belonged to it.

    Args:
        recipe: What the command was asked to do, with `run_dir` set.
        verb: Of the command; the name of a folder beside begins with it.
        sections: What its results depend on, as dotted names of sections or settings.
        tell: Gets a line when the results go beside.
    """
    run = recipe.run_dir
    assert run is not None, "load_recipe sets run_dir"
    if not (run / "recipe.yaml").is_file():
        return run
    try:
        changed = differences(recipe, load_recipe(run), ignore=_NO_INFLUENCE)
    except WeitiaoError:  # the run's own recipe cannot be read any more (its data has moved), and this one can
        changed = ["data"]
    if recipe.model.dtype == "auto":  # a training fills it in
        changed = [name for name in changed if name != "model.dtype"]
    found = [name for name in changed if any(_is_in(name, section) for section in sections)]
    if not found:
        return run
    values = recipe.model_dump(mode="json", include={name.partition(".")[0] for name in sections})
    name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
    tell(f"Not the run's own settings ({', '.join(found)}): the results go to {run / f'{verb}-{name}'}")
    return run / f"{verb}-{name}"


def _is_in(name: str, section: str) -> bool:
    """Whether a setting is part of a section, or the section of it differs as a whole."""
    return name == section or name.startswith(f"{section}.") or section.startswith(f"{name}.")
