"""The shapes of the usual models, known without a download.

Each file of `architectures/` is what decides shapes in the `config.json` of a published model. Under `weitiao` it also
says how many `parameters` that model has and the `source` of this number, and the `names` of the checkpoints of the
same shapes on the hub.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError
from weitiao.planning.names import did_you_mean, folded

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def architecture_names() -> tuple[str, ...]:
    """The names of all models of the catalogue, sorted."""
    return tuple(sorted(_catalogue()))


def find_architecture(name: str) -> PreTrainedConfig:
    """The configuration of a model of the catalogue.

    Args:
        name: A name of the catalogue or a hub id; owner, case, dots, dashes and underscores do not count. A checkpoint
            with the shapes of another (`mistralai/Mistral-7B-Instruct-v0.1`) is found as well.

    Returns:
        The configuration, made anew for the caller.

    Raises:
        ModelError: There is no such model in the catalogue.
    """
    wanted = folded(name.rsplit("/", 1)[-1])
    for key, values in _catalogue().items():
        if wanted in (folded(key), *map(folded, values["weitiao"]["names"])):
            from transformers import AutoConfig  # it takes seconds

            return AutoConfig.for_model(**{field: value for field, value in values.items() if field != "weitiao"})
    raise ModelError(f"The catalogue of models has no {name!r}.", did_you_mean(name.rsplit("/", 1)[-1], _catalogue()))


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    """The content of all files by their names without `.json`."""
    files = (resources.files("weitiao.planning") / "architectures").iterdir()
    return {file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8")) for file in files}
