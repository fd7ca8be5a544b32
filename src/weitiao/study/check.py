"""Checks, inspects and cleans files, and recipes: the latter with their columns, prompts and tokenizers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import DataConfig
from weitiao.data.example import Example
from weitiao.data.load import HeldOutRows, held_out_rows
from weitiao.errors import DataError, RecipeError, RenderingError
from weitiao.models.config import ModelConfig
from weitiao.quality.check import CheckReport, check, clean, parts_of_files
from weitiao.quality.cleaning_pass import CleanSummary
from weitiao.quality.inspection import Inspection, inspect
from weitiao.quality.look import Measure, Measured
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Part
from weitiao.recipe import Recipe, load_recipe
from weitiao.rendering.config import RenderingConfig
from weitiao.terminal.progress import ProgressLine

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedTokenizerFast

RECIPE_SUFFIXES = (".yaml", ".yml")
_NO_LIMIT = 1 << 40


@dataclass(frozen=True, slots=True)
class Target:
    """What a data command looks at.

    Attributes:
        names: Data files, or one recipe.
        against: Evaluation sets, beside those of a recipe.
        input_column, output_column: What the columns mean, for files without a known format.
        model: Whose tokens are counted, for files; a recipe names its own.
    """

    names: Sequence[str]
    against: Sequence[str] = ()
    input_column: str | None = None
    output_column: str | None = None
    model: str | None = None

    def recipe(self) -> Recipe | None:
        """The recipe that is named, if one is.

        Raises:
            DataError: A recipe and more is named, or an option that is meant for files.
            RecipeError: The recipe cannot be used.
        """
        recipes = [name for name in self.names if Path(name).suffix.lower() in RECIPE_SUFFIXES]
        if not recipes:
            return None
        if len(self.names) > 1:
            raise DataError(
                f"{recipes[0]} is a recipe, and more is named beside it.", "Name one recipe, or data files."
            )
        if option := self.input_column or self.output_column or self.model:
            raise DataError(
                f"{recipes[0]} is a recipe, and `{option}` is an option for data files.",
                "The recipe says it with its model, `columns` and templates.",
            )
        return load_recipe(Path(recipes[0]))

    def parts(self, recipe: Recipe | None) -> list[Part]:
        """The parts of the recipe or, without one, of the files; and the evaluation sets."""
        if recipe is not None:
            return parts_of_recipe(recipe.data, self.against)
        return parts_of_files(
            self.names, self.against, input_column=self.input_column, output_column=self.output_column
        )


def check_data(target: Target, settings: CheckSettings, *, console: Console) -> CheckReport:
    """Check files, or the data of a recipe.

    Args:
        target: Which.
        settings: What to look for.
        console: Shows progress.

    Raises:
        WeitiaoError: A file or the recipe cannot be used.
    """
    if (recipe := target.recipe()) is not None:
        return check_recipe(recipe, settings, against=target.against, console=console)
    with _rows_shown(console, "Checking") as on_rows:
        return check(target.parts(None), settings, on_rows=on_rows)


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
    context, overlap = model_context(recipe), recipe.objective.window_overlap()
    settings = replace(
        settings or CheckSettings(),
        max_tokens=min(recipe.rendering.max_length or context, context) if overlap is None else _NO_LIMIT,
        special_tokens=tuple(str(token) for token in tokenizer.all_special_tokens),
    )
    parts = parts_of_recipe(recipe.data, against)
    held_out: HeldOutRows = {}
    left_out = {}
    if recipe.data.fractions:
        try:
            held_out = held_out_rows(recipe.data, recipe.objective.rows())
        except DataError as error:
            left_out = {"leak": f"between the fractions, which cannot be held out: {error.what}"}
    measure = token_counter(tokenizer, recipe.rendering, window_overlap=overlap)
    with _rows_shown(console, "Checking") as on_rows:
        report = check(parts, settings, on_rows=on_rows, measure=measure, held_out=held_out)
    return replace(report, left_out={**report.left_out, **left_out})


def inspect_data(target: Target, *, console: Console) -> Inspection:
    """Inspect files, or the data of a recipe.

    Args:
        target: Which; characters are counted where neither it nor a recipe names a model.
        console: Shows progress.

    Raises:
        WeitiaoError: A file, the recipe or the model cannot be used.
    """
    from weitiao.models.load import load_tokenizer
    from weitiao.study.dataset import prepare_tokenizer

    recipe = target.recipe()
    measure: Measure | None = None
    if recipe is not None:
        overlap = recipe.objective.window_overlap()
        measure = token_counter(prepare_tokenizer(recipe), recipe.rendering, window_overlap=overlap)
    elif target.model is not None:
        measure = token_counter(load_tokenizer(ModelConfig(name=target.model)), RenderingConfig())
    with _rows_shown(console, "Inspecting") as on_rows:
        return inspect(target.parts(recipe), on_rows=on_rows, measure=measure)


def clean_data(
    target: Target,
    output: Path,
    *,
    fix: Sequence[str] | None = None,
    values: Sequence[str] = (),
    console: Console,
    **settings: Any,
) -> CleanSummary:
    """Clean files, or the training rows of a recipe.

    Args:
        target: Which, with evaluation sets that training rows must not leak into.
        output: A new directory.
        fix: Kinds of findings to remove.
        values: `NAME=VALUE` of placeholders.
        console: Shows progress.
        settings: Others of `CleanConfig`. What is given (and not None) replaces what `data.clean` of the recipe says.

    Raises:
        WeitiaoError: A file, the recipe or an option cannot be used, or a fix needs a package that is not installed.
    """
    recipe = target.recipe()
    config = _clean_config(recipe.data.clean if recipe is not None else None, fix, values, settings)
    if not config.fix:
        raise RecipeError(
            "Nothing to clean: no fix is named.",
            "Add --fix KIND, with the kinds that `weitiao data check` names, or `data.clean` to the recipe.",
        )
    if {"leak", "near_leak"} & set(config.fix) and recipe is None and not target.against:
        raise DataError("The fix `leak` needs to know what must not leak.", "Add --against FILE.")
    with _rows_shown(console, "Cleaning") as on_rows:
        return clean(target.parts(recipe), config, output, on_rows=on_rows)


def parts_of_recipe(data: DataConfig, against: Sequence[str] = ()) -> list[Part]:
    """The parts of a recipe that have sources of their own, and evaluation sets.

    Args:
        data: The recipe's section, its paths absolute.
        against: Evaluation sets.
    """
    parts = [Part(name, sources) for name, sources in data.sources.items()]
    return [*parts, *(parts_of_files(against, against)[1:] if against else ())]


def token_counter(
    tokenizer: PreTrainedTokenizerFast, rendering: RenderingConfig, *, window_overlap: int | None = None
) -> Measure:
    """Counts the tokens of examples as training sees them.

    Args:
        tokenizer: Tokenizer with its chat template.
        rendering: The recipe's section; its limit of length does not count here.
        window_overlap: As for `render`: not None where rows are raw text to be cut into windows.
    """
    from weitiao.rendering.render import render

    unlimited = rendering.model_copy(update={"max_length": None, "on_long": "drop"})

    def lengths(examples: Sequence[Example]) -> dict[str, Measured]:
        rendered = render(examples, tokenizer, unlimited, max_context=_NO_LIMIT, window_overlap=window_overlap)
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


def _clean_config(
    config: CleanConfig | None, fix: Sequence[str] | None, values: Sequence[str], settings: dict[str, Any]
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
    given |= {name: value for name, value in settings.items() if value is not None}
    try:
        return CleanConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = {"near_threshold": "near"}.get(str(first["loc"][0]), str(first["loc"][0]))
        raise RecipeError(f"--{name}: {first['msg']}, not {first['input']!r}.", "Correct the option.") from error


@contextmanager
def _rows_shown(console: Console, what: str) -> Iterator[Callable[[int], None]]:
    """Shows rows and rows per second while they are gone through."""
    begun, rows = time.monotonic(), 0

    def on_rows(count: int) -> None:
        nonlocal rows
        rows += count
        speed = rows / max(time.monotonic() - begun, 1e-6)
        line.show(f"{what}: {rows:,} rows, {speed:,.0f} rows/s", rows, None)

    with ProgressLine(console) as line:
        yield on_rows
