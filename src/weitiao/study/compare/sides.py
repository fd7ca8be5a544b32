"""What the two names of a comparison mean, and which weights stand behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weitiao.errors import ModelError, RunError, WeitiaoError
from weitiao.files import sha256
from weitiao.methods.base import base_model
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import final_tokenizer, find_final
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_tokenizer
from weitiao.recipe import Recipe, load_recipe
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.templates import apply_template
from weitiao.study.dataset import dated

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Kind = Literal["run", "adapter", "model", "base", "predictions"]

BASE_PREFIX = "base:"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        name: As the user wrote it.
        kind: What it is; `base` is the base model of a run or adapter.
        path: Of the run, the adapter or the file; None for a model.
        recipe: Of the run; None for the others.
        model: The base model, or the model; None for a file of predictions.
        weights: Hash of base model and adapter, whatever they are called and wherever they lie; of a file of
            predictions, that of its content.
    """

    name: str
    kind: Kind
    path: Path | None
    recipe: Recipe | None
    model: ModelConfig | None
    weights: str

    @property
    def is_tuned(self) -> bool:
        """Whether an adapter is put on the model."""
        return self.kind in ("run", "adapter")

    @property
    def run_dir(self) -> Path | None:
        """The run directory, when it is a run or the base model of one."""
        return self.path if self.recipe is not None else None


def find_side(name: str, base: ModelConfig | None = None) -> Side:
    """Find out what a name means.

    Args:
        name: A run directory, an adapter directory, a model by name, path or hub id, a file of predictions, or the base
            model of a run or adapter as `base:RUN`.
        base: Where the base model is now, when it is not where the run or adapter says.

    Raises:
        RunError: The run has no final weights yet, or what stands behind `base:` is neither run nor adapter.
        ModelError: There is no such thing.
    """
    if name.startswith(BASE_PREFIX):
        return _base(name, Path(name.removeprefix(BASE_PREFIX)), base)
    path = Path(name)
    if path.suffix in (".jsonl", ".json") and not path.is_dir():
        if not path.is_file():
            raise ModelError(f"There is no file {name}.", "Check the path.")
        return Side(name, "predictions", path, None, None, sha256(path))
    adapter = find_final(path)
    if adapter is None:
        return _model(name, ModelConfig(name=name))
    recipe = _recipe(path, base)
    model = recipe.model if recipe else base or base_model(adapter)
    return Side(name, "run" if recipe else "adapter", path, recipe, model, weights_hash(model, adapter))


def require_different(a: Side, b: Side) -> None:
    """Refuse a comparison of a thing with itself.

    Raises:
        WeitiaoError: Both sides are the same weights, or files of the same content.
    """
    if a.weights != b.weights:
        return
    if a.kind == "predictions":
        raise WeitiaoError(
            f"{a.name} and {b.name} hold the very same predictions: there is nothing to compare.",
            "Name the predictions of two different models.",
        )
    raise WeitiaoError(
        f"{a.name} and {b.name} are the same weights (base model and adapter agree to the byte): a comparison could "
        "only show noise.",
        f"Name two different models; the base model of a run is {BASE_PREFIX}RUN.",
    )


def side_tokenizer(side: Side, rendering: RenderingConfig) -> PreTrainedTokenizerFast:
    """The tokenizer with the chat template: that of the training where there was one, for the base model as well.

    Args:
        side: A run, an adapter or a model.
        rendering: Chat template of models that bring none of a training.
    """
    assert side.model is not None
    if side.path is not None and (side.is_tuned or side.recipe is None):
        adapter = find_final(side.path)
        if adapter is not None and (adapter / "tokenizer.json").exists():
            return final_tokenizer(adapter, side.model)
    tokenizer = load_tokenizer(side.model)
    apply_template(tokenizer, dated(side.recipe) if side.recipe is not None else rendering)
    return tokenizer


def _base(name: str, path: Path, base: ModelConfig | None) -> Side:
    recipe = _recipe(path, base)
    if recipe is not None:
        return _model(name, recipe.model, path=path, recipe=recipe)
    adapter = find_final(path)
    if adapter is None:
        raise RunError(f"{path} is neither a run nor an adapter, so it has no base model.", "Write base:RUN.")
    return _model(name, base or base_model(adapter), path=path)


def _model(name: str, model: ModelConfig, *, path: Path | None = None, recipe: Recipe | None = None) -> Side:
    return Side(name, "base" if path else "model", path, recipe, model, weights_hash(model, None))


def _recipe(path: Path, base: ModelConfig | None) -> Recipe | None:
    if not (path / "recipe.yaml").exists():
        return None
    recipe = load_recipe(path)
    return recipe if base is None else recipe.model_copy(update={"model": recipe.model.moved_to(base.name)})
