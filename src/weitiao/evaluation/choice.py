"""Multiple choice by likelihood: the model's choice is the continuation that it holds most likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.data.config import SourceConfig
from weitiao.data.formats.formats import columns_of, look_up
from weitiao.data.formats.templates import RowTemplate
from weitiao.data.reading.files import Table, open_source
from weitiao.data.reading.rows import BadRow, Row
from weitiao.errors import DataError
from weitiao.evaluation.likelihood import Likelihood, Progress, continuation, likelihoods

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A question with several answers, one of them right.

    Attributes:
        item_id: Its name.
        question: The whole text before the answer, such as `Question: ...\\nAnswer:`.
        choices: The answers, without the space before them.
        answer: Index of the right one.
    """

    item_id: str
    question: str
    choices: tuple[str, ...]
    answer: int

    def __post_init__(self) -> None:
        assert 0 <= self.answer < len(self.choices)


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """What a model makes of an item.

    Attributes:
        item: The item.
        likelihoods: Of each choice after the question.
    """

    item: ChoiceItem
    likelihoods: tuple[Likelihood, ...]

    @property
    def log_likelihoods(self) -> list[float]:
        """Of each choice, summed over its tokens, in nats."""
        return [one.log_likelihood for one in self.likelihoods]

    @property
    def choice(self) -> int:
        """The most likely choice; of equal ones the first."""
        return _largest(self.log_likelihoods)

    @property
    def choice_normalized(self) -> int:
        """The choice with the highest log-likelihood per character, which does not favour short ones."""
        per_choice = zip(self.log_likelihoods, self.item.choices, strict=True)
        return _largest([value / len(choice) for value, choice in per_choice])

    @property
    def correct(self) -> bool:
        """Whether the most likely choice is right (`acc` of lm-evaluation-harness)."""
        return self.choice == self.item.answer

    @property
    def correct_normalized(self) -> bool:
        """Whether the most likely choice per character is right (`acc_norm` of lm-evaluation-harness)."""
        return self.choice_normalized == self.item.answer

    @property
    def answer_likelihood(self) -> Likelihood:
        """How likely the right choice is. Its loss moves where the share of right choices does not."""
        return self.likelihoods[self.item.answer]


def score_choices(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[ChoiceItem],
    *,
    token_budget: int,
    delimiter: str = " ",
    share_prefixes: bool = True,
    on_progress: Progress | None = None,
) -> list[ChoiceResult]:
    """Score multiple-choice items: each question is computed once, each choice is a branch behind it.

    Args:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
        tokenizer: Its tokenizer.
        items: The items.
        token_budget: Tokens computed at once.
        delimiter: What stands between question and choice.
        share_prefixes: Compute what the choices have in common once; the result is the same.
        on_progress: Told how many choices are done, and how many there are.

    Returns:
        One result per item, in order.

    Raises:
        DataError: A question with a choice is longer than the model's context, or a choice has no token of its own.
    """
    sequences = [
        continuation(tokenizer, item.item_id, item.question, delimiter + choice)
        for item in items
        for choice in item.choices
    ]
    scored = iter(
        likelihoods(model, sequences, token_budget=token_budget, share_prefixes=share_prefixes, on_progress=on_progress)
    )
    return [ChoiceResult(item, tuple(next(scored) for _ in item.choices)) for item in items]


def read_choices(
    path: Path,
    *,
    question: str,
    choices: str | Sequence[str],
    answer: str,
    template: str,
) -> tuple[ChoiceItem, ...]:
    """Read multiple-choice items from a file of rows.

    Args:
        path: A file or directory that `data` sources may name.
        question: Column of the question.
        choices: Column of the list of choices, or one column for each choice.
        answer: Column of the right one: its place (from 0), its letter (from A) or its text.
        template: A Jinja template that makes the text before the choices from `question` and the row's columns.

    Raises:
        DataError: The file cannot be read, or a row has not what is needed; file, row and column are named.
    """
    prompt = RowTemplate(template)
    items: list[ChoiceItem] = []
    for table in open_source(SourceConfig(path=str(path))):
        for row in table.rows:
            try:
                items.append(_item(table, row, question, choices, answer, prompt))
            except BadRow as problem:
                raise DataError(
                    f"{table.shown}, row {row.number}: {f'{problem.field} '.lstrip()}{problem.reason}.",
                    "Correct the row, or say in the task which columns hold question, choices and answer.",
                ) from problem
    if not items:
        raise DataError(f"{path}: there are no rows in it.", "Give a file with rows.")
    return tuple(items)


def _item(
    table: Table, row: Row, question: str, choices: str | Sequence[str], answer: str, prompt: RowTemplate
) -> ChoiceItem:
    columns = columns_of(row)
    asked = _column(columns, question)
    given = _column(columns, choices) if isinstance(choices, str) else [_column(columns, name) for name in choices]
    if not isinstance(given, (list, tuple)) or len(given) < 2:
        raise BadRow(str(choices), "must be a list of at least two choices")
    texts = tuple(str(one) for one in given)
    place = _place(_column(columns, answer), texts, answer)
    text = prompt.render({**columns, "question": asked}, name="template")
    return ChoiceItem(f"{Path(table.name).name}:{row.number}", text, texts, place)


def _column(row: dict[str, Any], name: str) -> Any:
    value = look_up(row, name)
    if value is None or value == "":
        raise BadRow(name, f"is missing (the row has the columns {', '.join(map(str, row))})")
    return value


def _place(value: Any, choices: tuple[str, ...], column: str) -> int:
    text = str(value).strip()
    if isinstance(value, int) or (text not in choices and text.isdecimal()):
        place = int(value)
    elif text in choices:
        place = choices.index(text)
    else:
        place = ord(text.upper()) - ord("A") if len(text) == 1 else -1
    if isinstance(value, bool) or not 0 <= place < len(choices):
        raise BadRow(
            column, f"is {text!r}, which is no place from 0, no letter and no text of its {len(choices)} choices"
        )
    return place


def _largest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
