"""`weitiao init`: a first recipe from data."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.conversion.records import Input, compared_format
from weitiao.data.example import Example
from weitiao.data.formats.detection import detect
from weitiao.data.formats.formats import Converter
from weitiao.data.reading.files import OpenedSource, objects_of
from weitiao.data.reading.paths import SPLIT_NAMES, resolve_paths
from weitiao.data.reading.rows import BadRow
from weitiao.data.writing.convert import convert_file
from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.borders import VerdictConfig
from weitiao.study.init.content import (
    Line,
    Task,
    epochs,
    fraction,
    scalar,
    source_lines,
    source_settings,
    task_of,
    text,
)

_MOST_ROWS = 20_000
_LEAST_ROWS = VerdictConfig().least_rows


@dataclass(frozen=True, slots=True)
class FirstRecipe:
    """What `init` made.

    Attributes:
        path: The recipe.
        rows: Training rows that can be used, of those that were looked at.
        bad: Rows that cannot.
        task: What the answers are: `labels`, `numbers`, `json`, `short`, `long` or `text`.
        metrics: What scores them.
        converted: Files that were written because the rows judge answers instead of giving one.
        notes: What was found, in words.
    """

    path: Path
    rows: int
    bad: int
    task: str
    metrics: tuple[str, ...]
    converted: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, what it has to say beside its path, and its rows."""

    path: str
    shown: str
    settings: dict[str, Any]
    examples: tuple[Example, ...]
    bad: int
    first_problem: str


def init_recipe(
    files: Sequence[str], output: Path | None = None, *, model: str = "smollm2-135m", tell: Callable[[str], None]
) -> FirstRecipe:
    """Write a commented recipe that fits the rows of some files.

    Args:
        files: Data files, or hub ids. Those whose names say `test` or `validation` become that part.
        output: The recipe; `recipe.yaml` beside the first file (in the current directory for a hub id) when None.
        model: The base model.
        tell: Gets a line about each thing that is found.

    Raises:
        DataError: A file cannot be read, or its rows hold nothing to learn from.
        RecipeError: There is a recipe already.
    """
    config = resolve_paths(DataConfig.model_validate({"train": list(files)}), (Path.cwd(),))
    paths = [source.path for source in config.train]
    if output is None:
        output = (Path(paths[0]).parent if Path(paths[0]).is_absolute() else Path.cwd()) / "recipe.yaml"
    if output.exists():
        raise RecipeError(f"{output} is there already.", "Choose another file with --output; nothing is overwritten.")
    parts = _parts(paths)
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        tell(line)

    converted: list[str] = []
    sources = [_look(path, output.parent, note, converted) for path in parts["train"]]
    examples = [example for source in sources for example in source.examples]
    task = task_of(examples)
    note(f"{len(examples):,} rows to learn from; {task.why}")
    lines = _lines(sources, {part: parts[part] for part in ("validation", "test")}, task, len(examples), output, model)
    names = ", ".join(source.shown for source in sources)
    head = [
        f"Made by `weitiao init` from {names}. `weitiao schema` says what else can be set.",
        *notes,
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("x", encoding="utf-8") as file:
        file.write(text(head, lines))
    bad = sum(source.bad for source in sources)
    return FirstRecipe(output, len(examples), bad, task.kind, task.metrics, tuple(converted), tuple(notes))


def _parts(paths: Sequence[str]) -> dict[str, list[str]]:
    """The files of each part, by the words of their names; one file alone is trained on whatever it is called."""
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for path in paths:
        words = re.split(r"[^a-z]+", Path(path).stem.lower())
        named = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
        parts[named[-1] if named and len(paths) > 1 else "train"].append(path)
    if not parts["train"]:
        raise DataError(
            f"All files are named as held-out ones: {', '.join(Path(path).name for path in paths)}.",
            "Name the file to train on as well, or one file alone.",
        )
    return parts


def _look(path: str, folder: Path, note: Callable[[str], None], converted: list[str]) -> _Source:
    """What a file holds; answers that are judged there are written to a file of their own."""
    opened = OpenedSource(SourceConfig(path=path), num_head=_MOST_ROWS)
    if compared_format(objects_of(opened.head[:20])) is not None:
        good = folder / f"{Path(path).stem}.good.jsonl"
        if good.exists():
            raise DataError(f"{good} is there already.", "Remove it, or name it instead: it holds the good answers.")
        folder.mkdir(parents=True, exist_ok=True)
        done = convert_file(
            Input(path), good, to="messages", skip_bad_rows=True, rejected_path=good.with_suffix(".rejected.jsonl")
        )
        note(
            f"{opened.shown} judges answers ({done.source_format}). The preferred ones are in {good.name}, "
            f"{done.rows_written:,} rows, to be learned as examples; then learn from the judgements themselves, on top "
            "of that run (docs/alignment.md)"
        )
        converted.append(str(good))
        path = str(good)
        opened = OpenedSource(SourceConfig(path=path), num_head=_MOST_ROWS)
    shown, rows = opened.shown, opened.head
    settings, why = source_settings(rows, shown)
    found = detect(SourceConfig(path=path, **settings), rows, shown)
    convert = Converter(found.source, found.format)
    examples, problems = [], []
    for row in rows:
        try:
            examples.append(convert(row, f"{shown}:{row.number}"))
        except BadRow as problem:
            problems.append(f"row {row.number}: {problem.field}: {problem.reason}".replace(": : ", ": "))
    if not examples:
        raise DataError(f"{shown}: none of {len(rows):,} rows can be used; {problems[0]}.", "Correct the file.")
    more = f", {len(problems):,} that cannot be used" if problems else ""
    many = " looked at" if len(rows) == _MOST_ROWS else ""
    note(f"{shown}: {len(rows):,} rows{many}{more}; {why}")
    return _Source(path, shown, settings, tuple(examples), len(problems), problems[0] if problems else "")


def _lines(
    sources: Sequence[_Source], held_out: dict[str, list[str]], task: Task, rows: int, output: Path, model: str
) -> list[Line]:
    system = {"system": task.system} if task.system else {}
    lines: list[Line] = [
        (0, f"model: {scalar(model)}", "the base: a catalogue name, a directory, a .gguf file, a hub id")
    ]
    lines += [(0, "data:", "")]
    if len(sources) == 1:
        settings = {**system, **sources[0].settings}
        lines += source_lines(1, "train", _relative(sources[0].path, output), settings)
    else:
        lines += [(1, "train:", "")]
        for source in sources:
            lines += source_lines(2, "-", _relative(source.path, output), {**system, **source.settings})
    wanted = {"validation": min(200, max(20, rows // 20)), "test": min(500, max(100, rows // 10))}
    why = {"validation": "choose the best weights", "test": "are the proof, and never learned"}
    for part, paths in held_out.items():
        if paths:
            # A mere path has the columns and templates of the training source, if that is one.
            copied = {**system, **sources[0].settings} if len(sources) > 1 else {}
            lines += [(1, f"{part}:", f"these rows {why[part]}")]
            lines += [line for path in paths for line in source_lines(2, "-", _relative(path, output), copied)]
        else:
            share = fraction(rows, wanted[part], 0.3 if part == "test" else 0.1)
            num = round(share * rows)
            few = f"; from fewer than {_LEAST_ROWS} nothing is decided" if part == "test" and num < _LEAST_ROWS else ""
            lines += [(1, f"{part}: {share}", f"about {num:,} rows {why[part]}{few}")]
    if problem := next((source.first_problem for source in sources if source.bad), ""):
        lines += [(1, "on_bad_rows: skip", f"they are listed in the run; {problem}")]
    lines += [(0, "method: {type: lora, r: 16}", ""), (0, "train:", "")]
    lines += [(1, f"epochs: {epochs(rows)}", "passes over the rows: fewer rows, more passes")]
    lines += [(1, f"batch_size: {8 if rows < 500 else 16}", "rows of a step")]
    lines += [(1, "learning_rate: 5.0e-4", "LoRA: 1e-3 for the smallest models, 1e-4 for large ones")]
    lines += [(0, "evaluate:", ""), (1, f"metrics: {scalar(task.metrics)}", task.why)]
    if task.kind == "text":
        return lines
    lines += [(1, f"generation: {{max_new_tokens: {task.max_new_tokens}}}", "room for all but the longest answers")]
    lines += [(0, "baseline: {shots: [0, 8]}", "prompts to beat: without, and with eight solved examples")]
    return [*lines, (0, "verdict: {least_gain: 0.05}", "ship what is surely five points above the best prompt")]


def _relative(path: str, output: Path) -> str:
    """A path as the recipe names it: relative to the recipe where it lies below its folder, else absolute."""
    folder = output.parent.resolve()
    place = Path(path)
    if not place.is_absolute() or not place.resolve().is_relative_to(folder):
        return path
    return os.path.relpath(place.resolve(), folder)
