"""`method.start`: a training that goes on from what another one left, an adapter or a whole model."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError, RecipeError
from weitiao.files import COMPLETE, written_whole
from weitiao.methods.adapter import ADAPTER_CONFIG, read_adapter_config
from weitiao.methods.bottleneck import is_bottleneck
from weitiao.methods.fingerprint import adapter_hash
from weitiao.methods.merging import merge_stack, with_below
from weitiao.methods.method import Method, Selected
from weitiao.methods.note import BELOW, read_note
from weitiao.methods.open import find_final
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


# The rest of a directory that a trainer of another tool left, which may be large; written_whole makes its own marker.
_OF_TRAININGS = shutil.ignore_patterns("checkpoint-*", "global_step*", "*.pt", "*.pth", "*.bin", COMPLETE)


@dataclass(frozen=True, slots=True)
class Start:
    """What a training goes on from.

    Attributes:
        name: As the recipe has it.
        directory: Of the tuned weights: an adapter, or a whole model.
        is_model: Whether it is a whole model.
    """

    name: str
    directory: Path
    is_model: bool

    def fingerprint(self, base: str) -> str:
        """What the training stands on, `base` being the `model_fingerprint` of its base model."""
        own = model_fingerprint(self.directory) if self.is_model else adapter_hash(self.directory)
        return hashlib.sha256(f"{base}\n{own}".encode()).hexdigest()[:16]

    def source(self, base: ModelConfig) -> ModelConfig:
        """What is loaded for a training on a base model: the start itself where it is a whole model."""
        return base.moved_to(str(self.directory)) if self.is_model else base

    def kept_in(self, directory: Path) -> Start:
        """The same in a run directory's own copy, so that the run does not need the original again; a whole model stays
        where it is."""
        if self.is_model or self.directory == directory:
            return self
        if not (directory / COMPLETE).exists() or adapter_hash(directory) != adapter_hash(self.directory):
            with written_whole(directory) as beside:
                shutil.copytree(self.directory, beside, dirs_exist_ok=True, ignore=_OF_TRAININGS)
        return replace(self, directory=directory)


@dataclass(frozen=True, slots=True)
class Begun:
    """A model with what learns in it.

    Attributes:
        model: What is trained.
        below: The adapter that is merged into its base model, when there is one.
        said: How it began, for a person; None when it began with the base model.
    """

    model: nn.Module
    below: Path | None = None
    said: str | None = None


def find_start(name: str | None, *, kept: Path | None = None) -> Start | None:
    """What `method.start` names, or the copy that a run keeps of it.

    Args:
        name: The setting.
        kept: Where the run that is gone on with has its copy; used when the original is gone.

    Raises:
        ModelError: There is neither a run nor an adapter of that name.
        RunError: The run that it names has not ended.
    """
    if name is None:
        return None
    found = find_final(name) or (kept and find_final(kept))
    if found is None:
        raise ModelError(
            f"method.start: {name} is neither a run nor an adapter directory.",
            "Name a run directory, or one that holds adapter_config.json; a model to begin with is named with model.",
        )
    return Start(name, found, not (found / ADAPTER_CONFIG).exists())


def require_start(start: Start | None, method: Method, base: ModelConfig, fingerprint: str) -> None:
    """Refuse, before a model is loaded, a start that this method or base model cannot go on from.

    Args:
        start: What is gone on from, if anything.
        method: What learns.
        base: The base model of the recipe.
        fingerprint: `model_fingerprint` of it.

    Raises:
        RecipeError: An adapter was to be put on a whole model that is named as a start.
        ModelError: It was trained on another base model, or is of a kind that cannot be run.
    """
    if start is None:
        return
    if start.is_model and not isinstance(method, Selected):
        raise RecipeError(
            f"method.start: {start.name} is a whole model, on which a new adapter would stand.",
            f"Name it as the base model: `model: {start.directory}`, and leave method.start out.",
        )
    if not start.is_model and not is_bottleneck(start.directory):
        read_adapter_config(start.directory)
    note = read_note(start.directory)
    if note is not None and note.fingerprint != fingerprint:
        raise ModelError(
            f"method.start: {start.name} was trained on another base model ({note.base}, {note.fingerprint}) than "
            f"the recipe's ({base.name}, {fingerprint}).",
            "Name the base model that it was trained on with model, or another start.",
        )


def begin(method: Method, model: PreTrainedModel, start: Start | None, *, seed: int) -> Begun:
    """Put a method into a model, with the weights that it goes on from.

    An adapter of the same form as the method's learns on. Any other is merged into the base model, and what the method
    trains stands on the result.

    Args:
        method: What learns.
        model: The base model; the whole model of `start` where that is one.
        start: What is gone on from, if anything.
        seed: Decides first values.

    Raises:
        ModelError: The adapter cannot be merged, does not fit, or brings a vocabulary of its own.
    """
    if start is None:
        return Begun(method.apply(model, seed=seed))
    directory, vocabulary = start.directory, model.get_input_embeddings().weight.shape[0]
    if start.is_model:
        return Begun(method.apply(model, seed=seed), said=f"Going on from the model in {start.name}")
    differing = method.differs_from(directory, model)
    if differing is None:
        adapted = method.apply(with_below(model, directory), seed=seed)
        method.take(adapted, directory)
        below = directory / BELOW
        return Begun(adapted, below if below.is_dir() else None, f"Going on from the adapter in {start.name}")
    if is_bottleneck(directory):
        raise ModelError(
            f"method.start: the adapters in {start.name} are not linear, so they cannot be merged: {differing}.",
            "Go on with the same method and settings, or leave method.start out.",
        )
    model = merge_stack(model, directory)
    if model.get_input_embeddings().weight.shape[0] != vocabulary:
        raise ModelError(
            f"method.start: {start.name} brings tokens that the base model does not have.",
            "Merge it first with weitiao merge, and name the merged model with model.",
        )
    said = f"The adapter in {start.name} is merged into the base model ({differing})"
    return Begun(method.apply(model, seed=seed), directory, said)
