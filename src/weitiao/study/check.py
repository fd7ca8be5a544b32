"""Checks, inspects and cleans files, and recipes: the latter with their columns, prompts and tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import DataConfig
from weitiao.data.example import Example
from weitiao.data.load import HeldOutRows, held_out_rows
from weitiao.errors import DataError, RecipeError, RenderingError
from weitiao.machine.hardware import usable_cores
from weitiao.models.config import ModelConfig
from weitiao.quality.check import CheckReport, check, parts_of_files
from weitiao.quality.clean import clean
from weitiao.quality.cleaning_pass import CleanSummary
from weitiao.quality.inspection import Inspection, inspect
from weitiao.quality.scan import Measure, Measured
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Part
from weitiao.recipe import Recipe, load_recipe
from weitiao.rendering.config import RenderingConfig

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedTokenizerFast

RECIPE_SUFFIXES = (".yaml", ".yml")
_NO_LIMIT = 1 << 40


def check_data(
    targets: Sequence[str],
    *,
    against: Sequence[str] = (),
    input_column: str | None = None,
    output_column: str | None = None,
    kinds: Sequence[str] | None = None,
    near_threshold: float = 0.8,
    max_characters: int = 32_000,
    workers: int | None = None,
    console: Console,
) -> CheckReport:
    """Check files, or the data of a recipe.

    Args:
        targets: Data files, or one recipe.
        against: Further evaluation sets.
        input_column, output_column: What the columns mean, for files without a known format.
        kinds: The kinds to look for; all when None.
        near_threshold, max_characters: See `CheckSettings`.
        workers: Processes; all cores when None.
        console: Shows progress.

    Raises:
        WeitiaoError: A file or the recipe cannot be used.
    """
    settings = CheckSettings(
        near_threshold=near_threshold, max_characters=max_characters, workers=workers or usable_cores()
    )
    if kinds is not None:
        settings = replace(settings, kinds=frozenset(kinds))
    recipe = recipe_of(targets, input_column or output_column)
    if recipe is not None:
        return check_recipe(recipe, settings, against=against, console=console)
    parts = parts_of_files(targets, against, input_column=input_column, output_column=output_column)
    with _rows_shown(console, "Checking") as on_rows:
        return check(parts, settings, on_rows=on_rows)


def check_recipe(
    recipe: Recipe, settings: CheckSettings | None = None, *, against: Sequence[str] = (), console: Console
) -> CheckReport:
    """Check the data of a recipe: training, validation and test rows, with the recipe's columns and templates.

    Rows that the recipe holds out as a fraction are compared with the training rows that are left.

    Args:
        recipe: Its sections `data`, `rendering` and `model` are used.
        settings: What to look for; lengths are counted in tokens.
        against: Evaluation sets beside the recipe's own test rows.
        console: Shows progress.

    Raises:
        WeitiaoError: A file cannot be read, or the model's tokenizer cannot be had.
    """
    from weitiao.study.dataset import model_context, prepare_tokenizer

    tokenizer = prepare_tokenizer(recipe)
    context = model_context(recipe)
    settings = replace(
        settings or CheckSettings(workers=usable_cores()),
        max_tokens=min(recipe.rendering.max_length or context, context),
        special_tokens=tuple(str(token) for token in tokenizer.all_special_tokens),
    )
    parts = parts_of_recipe(recipe.data, against)
    held_out: HeldOutRows = {}
    left_out = {}
    if recipe.data.fractions:
        try:
            held_out = held_out_rows(recipe.data)
        except DataError as error:
            left_out = {"leak": f"between the fractions, which cannot be held out: {error.what}"}
    measure = token_counter(tokenizer, recipe.rendering)
    with _rows_shown(console, "Checking") as on_rows:
        report = check(parts, settings, on_rows=on_rows, measure=measure, held_out=held_out)
    return replace(report, left_out={**report.left_out, **left_out})


def inspect_data(
    targets: Sequence[str],
    *,
    model: str | None = None,
    input_column: str | None = None,
    output_column: str | None = None,
    workers: int | None = None,
    console: Console,
) -> Inspection:
    """Inspect files, or the data of a recipe.

    Args:
        targets: Data files, or one recipe, whose model then counts the tokens.
        model: A model whose tokens are counted; characters are, when None.
        input_column, output_column: What the columns mean, for files without a known format.
        workers: Processes; all cores when None.
        console: Shows progress.

    Raises:
        WeitiaoError: A file, the recipe or the model cannot be used.
    """
    from weitiao.models.load import load_tokenizer
    from weitiao.study.dataset import prepare_tokenizer

    recipe = recipe_of(targets, input_column or output_column or model)
    measure: Measure | None = None
    if recipe is not None:
        parts = parts_of_recipe(recipe.data)
        measure = token_counter(prepare_tokenizer(recipe), recipe.rendering)
    else:
        parts = parts_of_files(targets, input_column=input_column, output_column=output_column)
        if model is not None:
            measure = token_counter(load_tokenizer(ModelConfig(name=model)), RenderingConfig())
    with _rows_shown(console, "Inspecting") as on_rows:
        return inspect(parts, workers=workers or usable_cores(), on_rows=on_rows, measure=measure)


def clean_data(
    targets: Sequence[str],
    output: Path,
    *,
    fix: Sequence[str] | None = None,
    values: Sequence[str] = (),
    contradictions: str | None = None,
    against: Sequence[str] = (),
    input_column: str | None = None,
    output_column: str | None = None,
    near_threshold: float | None = None,
    config: CleanConfig | None = None,
    workers: int | None = None,
    console: Console,
) -> CleanSummary:
    """Clean files, or the training rows of a recipe.

    Args:
        targets: Data files, or one recipe.
        output: A new directory.
        fix, values, contradictions, near_threshold: What to do; each given one replaces what `config` says.
        against: Evaluation sets that training rows must not leak into, beside a recipe's held-out files.
        input_column, output_column: What the columns mean, for files without a known format.
        config: What to do; the section `data.clean` of the recipe when None.
        workers: Processes; all cores when None.
        console: Shows progress.

    Raises:
        WeitiaoError: A file, the recipe or an option cannot be used, or a fix needs a package that is not installed.
    """
    recipe = recipe_of(targets, input_column or output_column)
    if config is None and recipe is not None:
        config = recipe.data.clean
    config = _clean_config(config, fix, values, contradictions, near_threshold)
    if not config.fix:
        raise RecipeError(
            "Nothing to clean: no fix is named.",
            "Add --fix KIND, with the kinds that `weitiao data check` names, or `data.clean` to the recipe.",
        )
    if {"leak", "near_leak"} & set(config.fix) and recipe is None and not against:
        raise DataError("The fix `leak` needs to know what must not leak.", "Add --against FILE.")
    if recipe is not None:
        parts = parts_of_recipe(recipe.data, against)
    else:
        parts = parts_of_files(targets, against, input_column=input_column, output_column=output_column)
    with _rows_shown(console, "Cleaning") as on_rows:
        return clean(parts, config, output, workers=workers or usable_cores(), on_rows=on_rows)


def parts_of_recipe(data: DataConfig, against: Sequence[str] = ()) -> list[Part]:
    """The parts of a recipe that have sources of their own, and evaluation sets.

    Args:
        data: The recipe's section, its paths absolute.
        against: Evaluation sets.
    """
    parts = [Part(name, sources) for name, sources in data.sources.items()]
    return [*parts, *(parts_of_files(against, against)[1:] if against else ())]


def token_counter(tokenizer: PreTrainedTokenizerFast, rendering: RenderingConfig) -> Measure:
    """Counts the tokens of examples as training sees them.

    Args:
        tokenizer: Tokenizer with its chat template.
        rendering: The recipe's section; its limit of length does not count here.
    """
    from weitiao.rendering.render import render

    unlimited = rendering.model_copy(update={"max_length": None, "on_long": "drop"})

    def lengths(examples: Sequence[Example]) -> dict[str, Measured]:
        rendered = render(examples, tokenizer, unlimited, max_context=_NO_LIMIT)
        found: dict[str, Measured] = {}
        for one in rendered.sequences:  # a row may be several sequences; the longest has to fit
            row = found.get(one.row_id, Measured(0, 0))
            found[one.row_id] = Measured(max(row.length, len(one)), row.supervised + one.num_learned)
        return found

    def measure(examples: Sequence[Example]) -> list[Measured]:
        numbered = [replace(example, row_id=str(index)) for index, example in enumerate(examples)]
        try:
            known = lengths(numbered)
        except RenderingError:
            # One row that the template refuses stops all of them; it is found among them.
            known = {}
            for example in numbered:
                try:
                    known |= lengths([example])
                except RenderingError as error:
                    known[example.row_id] = Measured(0, 0, error.what.removeprefix(f"{example.row_id}: "))
        return [known.get(example.row_id, Measured(0, 0, "nothing in it is learned")) for example in numbered]

    return measure


def recipe_of(targets: Sequence[str], options: str | None = None) -> Recipe | None:
    """The recipe that the targets name, if they do.

    Args:
        targets: What the user names.
        options: An option that is meant for files, if one was given.

    Raises:
        DataError: A recipe and more is named.
        RecipeError: The recipe cannot be used.
    """
    recipes = [target for target in targets if Path(target).suffix.lower() in RECIPE_SUFFIXES]
    if not recipes:
        return None
    if len(targets) > 1:
        raise DataError(f"{recipes[0]} is a recipe, and more is named beside it.", "Name one recipe, or data files.")
    if options:
        raise DataError(
            f"{recipes[0]} is a recipe, and `{options}` is an option for data files.",
            "The recipe says it with its model, `columns` and templates.",
        )
    return load_recipe(Path(recipes[0]))


def _clean_config(
    config: CleanConfig | None,
    fix: Sequence[str] | None,
    values: Sequence[str],
    contradictions: str | None,
    near_threshold: float | None,
) -> CleanConfig:
    given: dict[str, Any] = config.model_dump() if config is not None else {}
    if fix is not None:
        given["fix"] = tuple(dict.fromkeys(fix))
    pairs = dict(value.partition("=")[::2] for value in values)
    if any("=" not in value for value in values):
        raise RecipeError(f"--set {' '.join(values)} is no NAME=VALUE.", "Write --set name=weitiao.")
    if pairs:
        given["fix"] = tuple(dict.fromkeys([*given.get("fix", ()), "placeholder"]))
    given["placeholders"] = {**given.get("placeholders", {}), **pairs}
    for name, value in (("contradictions", contradictions), ("near_threshold", near_threshold)):
        if value is not None:
            given[name] = value
    try:
        return CleanConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise RecipeError(f"--{name}: {first['msg']}, not {first['input']!r}.", "Correct the option.") from error


@contextmanager
def _rows_shown(console: Console, what: str) -> Iterator[Callable[[int], None]]:
    """Shows rows, time and rows per second while they are gone through."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None, speed="")

        def on_rows(count: int) -> None:
            progress.advance(task, count)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, speed=f"{speed:,.0f} rows/s" if speed else "")

        yield on_rows
