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
from weitiao.planning.names import did_you_mean, folded, spellings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def architecture_names() -> tuple[str, ...]:
    """The names of all models of the catalogue, sorted."""
    return tuple(_catalogue())


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
    wanted = name.rsplit("/", 1)[-1]
    known = spellings({key: values["weitiao"]["names"] for key, values in _catalogue().items()})
    if folded(wanted) not in known:
        raise ModelError(f"The catalogue of models has no {name!r}.", did_you_mean(wanted, known))
    from transformers import AutoConfig  # it takes seconds

    values = _catalogue()[known[folded(wanted)]]
    return AutoConfig.for_model(**{field: value for field, value in values.items() if field != "weitiao"})


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    """The content of all files by their names without `.json`."""
    folder = resources.files("weitiao.planning") / "architectures"
    found = {file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8")) for file in folder.iterdir()}
    return dict(sorted(found.items()))
