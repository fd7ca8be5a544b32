"""The task that two sides of a comparison share: the frozen test rows, and how answers are written and graded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weitiao.data.config import DataConfig
from weitiao.data.conversion.records import rows_in
from weitiao.data.example import Example
from weitiao.data.load import load_data
from weitiao.data.reading.files import OpenedSource
from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.answers import Prediction, is_gradable
from weitiao.evaluation.config import EvaluationConfig
from weitiao.evaluation.pairing import pair_predictions
from weitiao.evaluation.task import Task, make_task
from weitiao.recipe import Recipe, load_recipe
from weitiao.rendering.config import RenderingConfig
from weitiao.study.compare.sides import Side, side_tokenizer
from weitiao.study.dataset import Tell, prepare_tokenizer
from weitiao.study.task import askable


@dataclass(frozen=True, slots=True)
class SharedTask:
    """What both sides are asked.

    Attributes:
        task: The rows, each with a question and an answer, and how answers are written and graded.
        rendering: The chat template of models that bring none of a training.
        limited: Whether there are more rows, which are left out.
    """

    task: Task
    rendering: RenderingConfig
    limited: bool

    def of(self, predictions: Sequence[Prediction], name: str) -> tuple[Prediction, ...]:
        """The predictions of these rows, in their order.

        Args:
            predictions: Read from a file.
            name: What errors call it.

        Raises:
            DataError: They are of other rows.
        """
        asked = [Prediction.of(example, "", num_tokens=0, stopped=True) for example in self.task.examples]
        if self.limited:
            wanted = {one.row_id for one in asked}
            predictions = [one for one in predictions if one.row_id in wanted]
        return tuple(one for _, one in pair_predictions(asked, predictions, names=("the task", name)))


def find_shared_task(
    sides: Sequence[Side], *, data: Path | None, recipe: Path | None, limit: int | None, tell: Tell
) -> SharedTask:
    """The rows of a file or a recipe, or else the test rows of the runs that are compared.

    Args:
        sides: A and B. Of two runs, the settings of B count.
        data: A file of rows; its columns are read like the training data of the recipe or run, when there is one.
        recipe: A recipe whose test rows and settings count.
        limit: The first so many rows only; `evaluate.limit` by default.
        tell: Gets every line that a person should see.

    Raises:
        RecipeError: No test rows are named, or nothing grades the answers.
        DataError: The rows cannot be read, two runs have different test rows, or no row can be asked and graded.
    """
    recipes = [side.recipe for side in sides if side.recipe is not None]
    chosen = load_recipe(recipe) if recipe is not None else recipes[-1] if recipes else None
    training_answers: tuple[str, ...] = ()
    if data is not None:
        examples = _of_file(data, chosen, tell)
    elif chosen is not None:
        examples, training_answers = _of_recipe(chosen, tell)
        if recipe is None and len(recipes) == 2 and recipes[0].data != chosen.data:
            _require_same(_of_recipe(recipes[0], lambda line: None)[0], examples, sides)
    else:
        raise RecipeError(
            f"Neither {sides[0].name} nor {sides[1].name} is a run, so no test rows are known.",
            "Name them with --data FILE or --recipe RECIPE.",
        )
    evaluate = chosen.evaluate if chosen is not None else EvaluationConfig()
    rendering = chosen.rendering if chosen is not None else RenderingConfig()
    limit = evaluate.limit if limit is None else limit
    gradable = tuple(example for example in examples[:limit] if is_gradable(example))
    if not gradable:
        raise DataError("No test row has both a question and an answer.", "Name other rows with --data FILE.")
    if left_out := len(examples[:limit]) - len(gradable):
        tell(f"{left_out:,} rows without a question or an answer are left out")
    if not evaluate.graders:
        raise RecipeError(
            "`evaluate.metrics` has nothing that grades answers.", "Put a metric such as `exact_match` first."
        )
    task = make_task(gradable, evaluate, training_answers=training_answers)
    if chosen is not None:  # a file of predictions is taken to be by the recipe's model
        tokenizers = (
            prepare_tokenizer(chosen) if side.model is None else side_tokenizer(side, rendering) for side in sides
        )
        task = askable(task, chosen, tokenizers, tell)
    limited = len(examples[:limit]) < len(examples) or len(task.examples) < len(gradable)
    return SharedTask(task, rendering, limited)


def _of_recipe(recipe: Recipe, tell: Tell) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """The test rows, and the answers of the training rows."""
    if recipe.data.test is None:
        raise RecipeError(
            "The recipe has no `data.test`.", "Name the rows with --data FILE, or a recipe with --recipe RECIPE."
        )
    found = load_data(recipe.data, rows=recipe.objective.rows())
    for summary in found.summaries:
        if summary.part == "test" or "test" not in recipe.data.sources:
            tell(str(summary))
    return found.test, tuple(example.answer for example in found.task_train if is_gradable(example))


def _of_file(path: Path, recipe: Recipe | None, tell: Tell) -> tuple[Example, ...]:
    """The rows of a file, without a look at the training data."""
    path = path.absolute()
    if recipe is None:
        config = DataConfig.model_validate({"train": str(path)})
    else:
        # a mere path is read like the training source
        read = DataConfig.model_validate({"train": recipe.data.train, "test": str(path)})
        config = DataConfig(train=read.sources["test"], seed=recipe.data.seed, on_bad_rows=recipe.data.on_bad_rows)
    rows = rows_in(OpenedSource(config.train[0]))
    if rows.record == "mark":
        raise DataError(
            f"{path} has answers that were found good or bad, and no answer that is expected.",
            "Name rows with an expected answer, or pairs, whose better answer is taken as that.",
        )
    found = load_data(config, rows=rows)
    for summary in found.summaries:
        tell(str(summary).replace("train:", "test:", 1))
    return found.train


def _require_same(one: Sequence[Example], other: Sequence[Example], sides: Sequence[Side]) -> None:
    remedy = "Say which rows count with --data FILE or --recipe RECIPE."
    if len(one) != len(other):
        raise DataError(
            f"The test rows differ: {sides[0].name} has {len(one):,} and {sides[1].name} {len(other):,}.", remedy
        )
    for first, second in zip(one, other, strict=True):
        if (first.row_id, first.messages) != (second.row_id, second.messages):
            raise DataError(
                f"The test rows differ, at first in {first.row_id} of {sides[0].name} and {second.row_id} of "
                f"{sides[1].name}.",
                remedy,
            )
