"""`weitiao feedback`: answers to be judged, people and models who judge them, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.example import PROMPTS, Example, Rows, asked
from weitiao.data.load import load_data
from weitiao.data.writing.writing import row_writer
from weitiao.errors import DataError
from weitiao.evaluation.judges.pairwise import JudgeConfig
from weitiao.feedback.contests import contests
from weitiao.feedback.exchange import (
    choices_by_judge,
    most_telling,
    preferred,
    take_in,
    take_in_preferences,
    whole_rows,
)
from weitiao.feedback.items import PreferenceItem
from weitiao.feedback.preference import Preferences
from weitiao.feedback.raters import Status, agreement_of_all, sum_up
from weitiao.feedback.store import FeedbackStore
from weitiao.json_text import lines_of
from weitiao.recipe import load_recipe

if TYPE_CHECKING:
    from rich.console import Console

FILE_JUDGE = "file"
"""Who judged the pairs of a file of preferences."""

Form = Literal["preference", "all"]


@dataclass(frozen=True, slots=True)
class Counted:
    """What went into a store or out of it.

    Attributes:
        pairs: How many pairs.
        judgements: How many judgements.
        left_out: Pairs without a winner.
    """

    pairs: int
    judgements: int = 0
    left_out: int = 0


def prompts_of(data: Path, limit: int | None) -> list[Example]:
    """The rows of a file that ask something; of a recipe or a run its test rows, else its validation rows, as it asks.

    Args:
        data: Answers in it are left aside.
        limit: The first so many rows only.

    Raises:
        WeitiaoError: The rows cannot be read, or a recipe holds none out.
    """
    if data.suffix not in (".yaml", ".yml") and not (data / "recipe.yaml").is_file():
        rows = load_data(DataConfig(train=(SourceConfig(path=str(data)),)), rows=PROMPTS).train
    else:
        recipe = load_recipe(data)
        found = load_data(recipe.data, rows=recipe.objective.rows())
        rows = found.test or found.validation
        if not rows:
            raise DataError(f"{data} holds no rows out.", "Set data.test in its recipe, or name a file of prompts.")
    return [one for one in rows[:limit] if asked(one)[0]]


def judge_pairs(
    store: FeedbackStore,
    judges: Sequence[str | JudgeConfig],
    *,
    limit: int | None,
    seed: int,
    console: Console,
) -> Preferences:
    """Let people or models judge the pairs of a store: first those that nobody judged, then those in dispute.

    Args:
        store: With pairs.
        judges: Names of persons (`human`, `human:NAME`), and judge models.
        limit: So many pairs only.
        seed: Of the order in which answers are shown.
        console: Where questions and progress go.

    Raises:
        DataError: The store holds no pairs.
        WeitiaoError: A judge cannot be used.
    """
    from weitiao.study.compare.preferences import judge_answers

    return judge_answers(most_telling(_items(store), store)[:limit], judges, store, seed=seed, console=console)


def _items(store: FeedbackStore) -> list[PreferenceItem]:
    """All pairs in the order in which they came; at least one."""
    if items := [item for item, _, _ in store.pairs()]:
        return items
    raise DataError(f"{store.path} holds no pairs of answers.", "Make some with `weitiao feedback sample` or `import`.")


def status(store: FeedbackStore) -> Status:
    """What a store holds, and how far its judges agree.

    Raises:
        MissingExtraError: Several judges judged the same pairs, and the packages that reckon agreement are missing.
    """
    items = _items(store)
    choices = choices_by_judge(store)
    judged = {pair for found in choices.values() for pair in found}
    num_judged = sum(item.item_id in judged for item in items)
    return Status(
        len(items),
        num_judged,
        sum_up(items, store, {}),
        agreement_of_all(choices),
        contests(store, choices),
        store.spent(),
    )


def export_feedback(store: FeedbackStore, output: Path, *, form: Form, judges: Sequence[str] = ()) -> Counted:
    """Write what a store holds.

    Args:
        store: The store.
        output: The file; its ending says of which kind.
        form: `preference`: a row for each pair that has a winner; `all`: every pair with its judgements.
        judges: Whose judgements decide who wins; all where none are named.

    Raises:
        DataError: There is nothing to write.
    """
    num_pairs = len(_items(store))
    rows = [one.row() for one in preferred(store, judges)] if form == "preference" else list(whole_rows(store))
    if not rows:
        raise DataError(
            f"No pair in {store.path} has a winner.", "Judge some: weitiao feedback label, or weitiao feedback judge."
        )
    with row_writer(output) as write:
        for row in rows:
            write(row)
    said = sum(len(row["judgements"]) for row in rows) if form == "all" else len(rows)
    return Counted(len(rows), said, num_pairs - len(rows))


def import_feedback(store: FeedbackStore, source: Path) -> Counted:
    """Read into a store what `export_feedback` wrote of another, or any file of preferences.

    Raises:
        DataError: The file is neither.
    """
    if not source.is_file():
        raise DataError(f"There is no file {source}.", "Check the path.")
    first = next(lines_of(source), "") if source.suffix in (".jsonl", ".ndjson") else ""
    try:
        row = json.loads(first)
    except ValueError:
        row = None
    if isinstance(row, dict) and {"a", "b", "judgements"} <= row.keys():
        return Counted(*take_in(store, map(json.loads, lines_of(source))))
    examples = load_data(DataConfig(train=(SourceConfig(path=str(source)),)), rows=Rows("pair")).train
    return Counted(*take_in_preferences(store, examples, judge=f"{FILE_JUDGE}:{source.name}"))
