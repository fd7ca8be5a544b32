"""The option `--base-model`, the same in every command that opens a run or an adapter."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from weitiao.models.config import ModelConfig

BaseModelName = Annotated[
    str | None,
    typer.Option("--base-model", help="Where the base model is now, when it is not where the run or adapter says."),
]


def base_settings(name: str | None) -> list[str]:
    """The option as settings of a recipe; none when it is not given."""
    return [] if name is None else [f"model.name={dumps(_absolute(name))}", "model.revision=null"]


def base_config(name: str | None) -> ModelConfig | None:
    """The option as the `model` section, for what has no recipe; None when it is not given."""
    from weitiao.models.config import ModelConfig

    return None if name is None else ModelConfig(name=_absolute(name))


def _absolute(name: str) -> str:
    """A path is meant from the current directory, and not from that of a recipe."""
    from weitiao.models.names import local_path

    path = local_path(name)
    return name if path is None else str(path.resolve())
