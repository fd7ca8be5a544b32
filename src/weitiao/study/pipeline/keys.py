"""The key of a step: one hash of everything that its result depends on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from weitiao.data.config import SourceConfig
from weitiao.data.reading.paths import data_files
from weitiao.data.reading.typed_files import is_saved_dataset
from weitiao.files import sha256
from weitiao.machine.hardware import choose_dtype, detect_hardware
from weitiao.machine.versions import COMPUTING, versions
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import find_final
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.names import resolve_model
from weitiao.quality.settings import NEEDS
from weitiao.recipe import Recipe
from weitiao.retention.config import RetentionConfig
from weitiao.retention.run import fingerprint, retention_parts
from weitiao.study.effects import CHANGEABLE
from weitiao.study.pipeline.step import Step
from weitiao.study.teacher import find_teacher

CHOSEN = ("weigh", "precision")
"""Settings of `train` for whose `auto` a training writes down what it chose."""

_USER_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<function>\w+)")
_SMALL_MODEL_FILES = ("*.json", "*.jinja", "*.model", "*.txt")


class Identities:
    """What the settings of a recipe stand for: files, models and the user's functions count by their content.

    So a file may be moved or renamed, and a setting that changes no result (`train.threads`) may change, without
    anything being done again.

    Args:
        recipe: With absolute paths, as `load_recipe` gives it.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.of = cache(self._of)

    def names_content(self) -> bool:
        """Whether a training depends on files beside data and models that the recipe names: code, or another run."""
        recipe = self.recipe
        names = ["method", "objective", "optimizer", *(["rollouts"] if recipe.objective.writes else [])]
        sections = [getattr(recipe, name) for name in names]
        dumped = [one.model_dump(mode="json", exclude={"start", "teacher"}) for one in sections]
        return bool(_by_content(dumped) != dumped)

    def _of(self, name: str) -> Any:
        """The identity of a section, of `data.PART`, of a setting by its dotted name, or of all (`*`): JSON values."""
        section, _, rest = name.partition(".")
        if name == "*":  # without what a training fills in for `auto`
            return self.recipe.model_dump(
                mode="json", exclude={"run_dir": True, "model": {"dtype"}, "train": {"token_budget", *CHOSEN}}
            )
        if section == "data" and rest:
            return self._data(rest)
        if section == "packages":
            return versions(self._packages(rest))
        value: Any = self.recipe
        for part in name.split("."):
            value = getattr(value, part)
        if isinstance(value, ModelConfig):
            return model_identity(value)
        dumped = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        if name in ("train", "method"):
            unimportant = {name.partition(".")[2] for name in CHANGEABLE if name.startswith(f"{section}.")}
            dumped = {key: setting for key, setting in dumped.items() if key not in unimportant}
        if name == "train":
            # a run keeps what its training chose, also one from before the setting
            dumped = {key: setting for key, setting in dumped.items() if key not in CHOSEN or setting != "auto"}
            return {**dumped, "evaluate": self.of("evaluate")} if value.validate_answers else dumped
        if name == "method" and value.start is not None:
            final = find_final(value.start)
            dumped["start"] = value.start if final is None else weights_hash(self.recipe.model, final)
        if name == "objective" and (teacher := find_teacher(self.recipe)) is not None:
            dumped["teacher"] = {**dumped["teacher"], "name": teacher.weights}
        if name == "objective" and value.writes:
            dumped["rollouts"] = self.of("rollouts")
        if name == "baseline":
            dumped["models"] = [model_identity(model) for model in value.models]
        if name == "retention":
            return retention_identity(value)
        return _by_content(dumped)

    def _data(self, part: str) -> Any:
        """A part of the data: its own sources; where it, or what remains of another, is a fraction, those of both."""
        data = self.recipe.data
        identities = {name: [source_identity(one) for one in sources] for name, sources in data.sources.items()}
        own = [one for name in ("validation", "test") for one in identities.get(name, [])]
        of_train: dict[str, Any] = {
            "sources": identities["train"],
            "validation_fraction": data.fractions.get("validation", 0.0),
            "test_fraction": data.fractions.get("test", 0.0),
            "replay": identities.get("replay", []),
            "held_out": own if data.replay else [],  # general rows that are scored are left out of the training rows
        }
        if data.fractions:
            of_train["keep_together"] = data.keep_together
        rows = of_train if part in data.fractions or part == "train" else identities.get(part, [])
        return {"part": part, "rows": rows, "seed": data.seed, "on_bad_rows": data.on_bad_rows}

    def _packages(self, what: str) -> tuple[str, ...]:
        """Packages of others that a kind of work depends on: `check`, `model`, `metrics`, `examples`."""
        asked, benchmarks = self.recipe.evaluate, ("lm-eval",) if self.recipe.evaluate.benchmarks else ()
        needed: dict[str, Iterable[str]] = {
            "check": NEEDS.values(),
            "model": COMPUTING,
            "metrics": (*(package for one in asked.metrics for package in one.packages), *benchmarks),
            "examples": ("bm25s",) if "nearest" in self.recipe.baseline.selection else (),
        }
        return tuple(needed[what])


def step_key(step: Step, identities: Identities, upstream: Mapping[str, str], **more: Any) -> str:
    """The key of a step.

    Args:
        step: The step.
        identities: Of the recipe's settings.
        upstream: Step to digest of the results that it is given.
        more: What it depends on beyond that, as JSON values.
    """
    parts = {
        "step": step.name,
        "version": step.version,
        "reads": {name: identities.of(name) for name in step.reads},
        "upstream": dict(upstream),
        "more": more,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def source_identity(source: SourceConfig) -> dict[str, Any]:
    """A source of rows by the content of its files; a data set of the hub by its name."""
    values = source.model_dump(mode="json")
    path = Path(source.path)
    if path.is_dir() and is_saved_dataset(path):
        return {**values, "path": _tree(path)}
    if path.exists():
        return {**values, "path": [sha256(file) for file in data_files(path, source.split)]}
    return values


def retention_identity(config: RetentionConfig) -> dict[str, Any]:
    """The items of a suite, and how they are asked and graded."""
    # tasks of users, whose metrics had packages, counted when the first keys were kept
    return {"items": fingerprint(retention_parts(config)), "packages": {}}


def model_identity(config: ModelConfig) -> dict[str, Any]:
    """A model by the fingerprint of its weights, its tokenizer and configuration, and the number format."""
    path = resolve_model(config)
    small = sorted({file for pattern in _SMALL_MODEL_FILES for file in path.glob(pattern)})
    return {
        "weights": model_fingerprint(path),
        "files": {file.name: sha256(file) for file in small},
        "dtype": _dtype(config),
    }


def _dtype(config: ModelConfig) -> str:
    """The number format of a model on this machine, and how its weights are rounded."""
    return config.rounded(config.dtype if config.dtype != "auto" else _default_dtype())


@cache
def _default_dtype() -> str:
    hardware = detect_hardware()
    return choose_dtype(hardware, device="cuda" if hardware.gpus else "cpu")


def _by_content(value: Any) -> Any:
    """The value with every absolute path, and every `FILE.py:FUNCTION`, replaced by the SHA-256 of what is there."""
    if isinstance(value, dict):
        return {key: _by_content(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if (match := _USER_FUNCTION.fullmatch(value)) and Path(match["file"]).is_file():
        return {"file": sha256(Path(match["file"])), "function": match["function"]}
    path = Path(value)
    if not path.is_absolute():
        return value
    if path.is_dir():
        return _tree(find_final(path) or path)  # of a run its weights, not what is measured on them later
    return {"file": sha256(path)} if path.is_file() else value


def _tree(directory: Path) -> dict[str, str]:
    return {str(f.relative_to(directory)): sha256(f) for f in sorted(directory.rglob("*")) if f.is_file()}
