"""What a run directory holds, as far as the report shows it. Read from the files alone: no data, no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from weitiao.errors import RunError
from weitiao.json_text import lines_of
from weitiao.runs.belonging import Belongings
from weitiao.runs.record import Records, read_records
from weitiao.runs.run_dir import RunDir
from weitiao.training.metrics import read_metrics
from weitiao.yaml_text import parse_yaml

Values = dict[str, Any]
State = Literal["done", "never", "skipped", "unfinished", "outdated"]
Presence = State | Literal["there", "replaced"]


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run.

    Attributes:
        path: The run directory.
        records: What `weitiao run` has done there; empty for a run that was made command by command.
        recipe: `recipe.yaml` as it is written.
        settings: The values in it.
        values: JSON file to content; files of steps whose result is not up to date, and what does not belong to the
            rest, are left out.
        predictions: Predictions file to its rows.
        metrics: The lines of `metrics.jsonl`.
        forecast: What the training was forecast to need, and what it needed; None for a small model.
        replaced: Files that are there, and do not belong to the rest.
    """

    path: Path
    records: Records
    recipe: str
    settings: Values
    values: dict[str, Values] = field(default_factory=dict)
    predictions: dict[str, list[Values]] = field(default_factory=dict)
    metrics: list[Values] = field(default_factory=list)
    forecast: Values | None = None
    replaced: set[str] = field(default_factory=set)

    def get(self, name: str) -> Values | None:
        """The content of a JSON file; None when it is not there, or not up to date."""
        return self.values.get(name)

    @property
    def best_cell(self) -> Values | None:
        """The best model with its best prompt in `baseline.json`."""
        if (baseline := self.get("baseline.json")) is None:
            return None
        best = (baseline["best_model"], baseline["best_prompt"])
        cells: list[Values] = baseline["cells"]
        return next(cell for cell in cells if (cell["model"], cell["prompt"]) == best)

    def presence(self, step: str, *names: str) -> Presence:
        """Whether a step's files are there, and if not, why."""
        if all(name in self.values or name in self.predictions for name in names):
            return "there"
        state = self.state(step)
        if state != "skipped" and self.replaced.intersection(names):
            return "replaced"
        return "outdated" if state == "done" else state

    def state(self, step: str) -> State:
        """What became of a step, by the records."""
        if step in self.records.skipped:
            return "skipped"
        record = self.records.steps.get(step)
        if record is None:
            return "never"
        if self.records.is_current(step):
            return "done"
        return "unfinished" if record.state == "started" else "outdated"


# Which step each file is the result of.
STEP_OF = {
    "data-check.json": "check",
    "baseline.json": "baseline",
    "gap.json": "baseline",
    "scores-base.json": "baseline",
    "retention-before.json": "retention-before",
    "gap-tuned.json": "compare",
    "scores.json": "eval",
    "predictions.jsonl": "eval",
    "retention-after.json": "retention-after",
    "comparison.json": "compare",
    "verdict.json": "verdict",
    "exports.json": "export",
    "environment.json": "",
}


def read_run(path: Path) -> RunFiles:
    """Read what a run directory holds.

    Args:
        path: The run directory.

    Raises:
        RunError: It is no run directory, or a file in it is damaged.
    """
    run = RunDir(path)
    if not run.recipe_path.is_file():
        raise RunError(f"{path} is no run directory: it has no recipe.yaml.", "Name the directory of a run.")
    recipe = run.recipe_path.read_text(encoding="utf-8")
    forecast = _read_json(run.forecast_path) if run.forecast_path.is_file() else None
    settings = parse_yaml(recipe, str(run.recipe_path))
    files = RunFiles(path, read_records(path), recipe, settings, forecast=forecast)
    belongings = Belongings(path, files.records)

    def keep(target: dict[str, Any], name: str, step: str, read: Callable[[Path], Any]) -> None:
        """What belongs to the rest, and the name of what was replaced; nothing of a step that is not up to date."""
        belonging = belongings.of(name, step) if (path / name).is_file() else None
        if belonging not in ("belongs", "replaced"):
            return
        content = read(path / name)  # also of what was replaced: a damaged file is named
        if belonging == "belongs":
            target[name] = content
        else:
            files.replaced.add(name)

    for name, step in STEP_OF.items():
        if name.endswith(".json"):
            keep(files.values, name, step, _read_json)
    baseline = files.get("baseline.json")
    cells = [cell["predictions"] for cell in baseline["cells"]] if baseline else []
    for name in dict.fromkeys(["predictions.jsonl", "predictions-base.jsonl", *cells]):
        keep(files.predictions, name, STEP_OF.get(name, "baseline"), _read_lines)
    if run.metrics_path.is_file():
        files.metrics.extend(read_metrics(run.metrics_path))
    return files


def _read_json(path: Path) -> Values:
    return _parsed(path.read_text(encoding="utf-8"), str(path))


def _read_lines(path: Path) -> list[Values]:
    return [_parsed(line, f"{path}, line {number}") for number, line in enumerate(lines_of(path), start=1) if line]


def _parsed(text: str, place: str) -> Values:
    try:
        values: Values = json.loads(text)
    except ValueError as error:
        raise RunError(f"{place} is damaged: {error}.", "Remove the file, and make it again.") from error
    return values
