"""weitiao 微调: fine-tune language models, and prove that it helped.

Every verb of the command line is one function here. Names are loaded when they are first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weitiao.export.merge import merge
    from weitiao.methods.open import open_model
    from weitiao.recipe import Recipe, load_recipe, recipe_from_dict
    from weitiao.study.baseline.run import run_baseline
    from weitiao.study.evaluate import evaluate_recipe
    from weitiao.study.pipeline.run import run_pipeline
    from weitiao.study.train import train

_HOMES = {
    "Recipe": "weitiao.recipe",
    "evaluate_recipe": "weitiao.study.evaluate",
    "load_recipe": "weitiao.recipe",
    "merge": "weitiao.export.merge",
    "open_model": "weitiao.methods.open",
    "recipe_from_dict": "weitiao.recipe",
    "run_baseline": "weitiao.study.baseline.run",
    "run_pipeline": "weitiao.study.pipeline.run",
    "train": "weitiao.study.train",
}

__all__ = [
    "Recipe",
    "evaluate_recipe",
    "load_recipe",
    "merge",
    "open_model",
    "recipe_from_dict",
    "run_baseline",
    "run_pipeline",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
