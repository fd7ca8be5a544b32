"""`weitiao retention`: what a model knew before the training, and what of it is left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from weitiao.console import quoted
from weitiao.errors import RecipeError
from weitiao.files import write_json
from weitiao.machine.hardware import detect_hardware
from weitiao.machine.versions import COMPUTING, versions
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import final_tokenizer, find_final, open_model
from weitiao.models.config import ModelConfig
from weitiao.models.load import format_of
from weitiao.recipe import Recipe, load_recipe
from weitiao.records import read_record, record_of
from weitiao.retention.comparison import RetentionComparison, compare_retention
from weitiao.retention.config import RetentionConfig
from weitiao.retention.run import fingerprint, retention_parts, run_retention
from weitiao.retention.scores import RetentionScores
from weitiao.runs.run_dir import RunDir, locked_around
from weitiao.study.dataset import prepare_tokenizer
from weitiao.study.place import place_of_results
from weitiao.study.setup import device_here, open_recipe, set_threads
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import retention_progress, teller

BEFORE, AFTER = "retention-before.json", "retention-after.json"


@dataclass(frozen=True, slots=True)
class Retained:
    """What the suite found.

    Attributes:
        name: What was scored.
        before: Scores of the base model; None when only a model without a recipe was scored.
        after: Scores of the tuned model, or of the model that was named; None when only the base model was scored.
        comparison: Of the two; None unless there are both.
        paths: Files that were written, or that hold scores of before.
    """

    name: str
    before: RetentionScores | None
    after: RetentionScores | None
    comparison: RetentionComparison | None
    paths: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values: scores without the single items, which lie in the files."""
        return {
            "name": self.name,
            "before": None if self.before is None else self.before.to_dict(items=False),
            "after": None if self.after is None else self.after.to_dict(items=False),
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "paths": [str(path) for path in self.paths],
        }


def retention_target(
    target: str,
    overrides: Sequence[str] = (),
    *,
    base: bool = False,
    suite: Literal["full", "small"] | None = None,
    base_model: ModelConfig | None = None,
    console: Console | None = None,
) -> Retained:
    """Score what a person names.

    Args:
        target: A run directory (base and tuned model), a recipe file (its base model), or a model.
        overrides: `section.key=value`, as on the command line.
        base: Score only the base model of a run.
        suite: Instead of the recipe's `retention.suite`.
        base_model: Where the base model is now, when it is not where the run or adapter says.
        console: Where progress goes; stderr by default.

    Raises:
        WeitiaoError: Something the user can put right; the message says what.
    """
    console = console or TextConsole(stderr=True)
    path = Path(target)
    is_run = (path / "recipe.yaml").exists()
    if not is_run and path.suffix not in (".yaml", ".yml"):
        if overrides or base:
            raise RecipeError(
                f"{target} is a model: it has no recipe whose settings could be changed, and no base model beside it.",
                "Name a run or a recipe, or leave out the settings and --base.",
            )
        return _model_alone(target, RetentionConfig(suite=suite or "full"), console, base_model)
    settings = [*overrides, *([] if suite is None else [f"retention.suite={suite}"])]
    recipe = load_recipe(path, settings)
    tell = teller(console)
    output = place_of_results(recipe, "retention", ("model", "rendering", "retention"), tell)
    if base_model is not None:
        recipe = recipe.model_copy(update={"model": recipe.model.moved_to(base_model.name)})
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    if is_run and not base:
        find_final(path)  # says what is missing before time is spent on the base model
    before = score_retention(recipe, tuned=False, console=console, output=output)
    if base or not is_run:
        return Retained(target, before, None, None, (output / BEFORE,))
    after = score_retention(recipe, tuned=True, console=console, output=output)
    comparison = compare_retention(before, after, recipe.verdict)
    return Retained(target, before, after, comparison, (output / BEFORE, output / AFTER))


def score_retention(recipe: Recipe, *, tuned: bool, console: Console, output: Path | None = None) -> RetentionScores:
    """Score the base model or the tuned model of a recipe, unless these scores are there already.

    Args:
        recipe: With `run_dir` set.
        tuned: Whether to put the adapter of `run_dir` on the model.
        console: Where progress goes.
        output: Where the scores go; `run_dir` by default.

    Returns:
        The scores; also in `retention-before.json` or `retention-after.json`.

    Raises:
        RunError: Another process has the run directory.
        WeitiaoError: Something else that the user can put right.
    """
    assert recipe.run_dir is not None
    path = (output or recipe.run_dir) / (AFTER if tuned else BEFORE)
    adapter = find_final(recipe.run_dir) if tuned else None
    which = "tuned model" if tuned else "base model"
    with locked_around(path, "Wait for it, or choose another run_dir.", run=RunDir(recipe.run_dir)):
        key = _key(recipe, adapter)
        if known := _read(path, key):
            teller(console)(f"{which}: scores of {path}")
            return known
        set_threads(recipe, detect_hardware())
        opened = open_recipe(recipe, tuned=tuned)
        with retention_progress(console, which) as on_progress:
            scores = run_retention(opened.model, opened.tokenizer, recipe.retention, on_progress=on_progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"tuned": tuned, "key": key, **scores.to_dict()})
        return scores


def read_retention(path: Path) -> RetentionScores:
    """Read `retention-before.json` or `retention-after.json`.

    Raises:
        RunError: There is none, or it is damaged.
    """
    return read_record(
        RetentionScores,
        path,
        missing=f"Make it with: weitiao retention {quoted(path.parent)}",
        damaged="Remove it and score again.",
    )


def _model_alone(name: str, config: RetentionConfig, console: Console, base: ModelConfig | None) -> Retained:
    opened = open_model(name, base=base if find_final(name) else None, device=device_here())
    with retention_progress(console, name) as on_progress:
        scores = run_retention(opened.model, opened.tokenizer, config, on_progress=on_progress)
    return Retained(name, None, scores, None, ())


def _key(recipe: Recipe, adapter: Path | None) -> dict[str, Any]:
    """What the scores depend on: weights, chat template, items, number format, and what computes and grades."""
    if adapter is not None and (adapter / "tokenizer.json").exists():
        tokenizer = final_tokenizer(adapter, recipe.model)
    else:
        tokenizer = prepare_tokenizer(recipe)
    template = hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16]
    return {
        "weights": weights_hash(recipe.model, adapter),
        "template": template,
        "items": fingerprint(retention_parts(recipe.retention)),
        "dtype": format_of(recipe.model, device=device_here()),
        "packages": versions(COMPUTING),
    }


def _read(path: Path, key: dict[str, Any]) -> RetentionScores | None:
    """Stored scores, if they are of the same weights, template and items."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return record_of(RetentionScores, values) if values.get("key") == key else None
    except (FileNotFoundError, ValueError, AttributeError):  # none, or by another version: it is made anew
        return None
