"""The scores of a model, and the two files they are kept in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import RunError
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.classes import ClassScores, class_scores, is_closed_label_set
from weitiao.evaluation.metrics import Normalization, Proportion, normalized, proportion
from weitiao.training.files import write_json

if TYPE_CHECKING:
    from weitiao.training.validation import ValidationLoss


@dataclass(frozen=True, slots=True)
class Scores:
    """How good a model is on the test rows (and the validation rows).

    Attributes:
        exact_match: Share of answers that agree with the expected ones; None when no row was answered.
        classes: Scores per class, when the expected answers are labels of a closed set; None otherwise.
        num_unstopped: Answers that the limit of new tokens cut off.
        num_ungraded: Test rows without an answer to compare with (raw text, mere tool calls), which were left out.
        seconds: Time that the answers took, of all rows together.
        tokens_per_second: Generated tokens per second; None when no row was answered.
        validation_loss: Mean loss per target on the validation rows; None when it was not computed.
    """

    exact_match: Proportion | None
    classes: ClassScores | None
    num_unstopped: int
    num_ungraded: int
    seconds: float
    tokens_per_second: float | None
    validation_loss: ValidationLoss | None = None

    def to_dict(self) -> dict[str, Any]:
        """The scores as plain JSON values; the keys are the attributes' names."""
        return asdict(self)


def score(
    predictions: Sequence[Prediction], normalize: Normalization, *, num_ungraded: int = 0, seconds: float
) -> Scores:
    """Score predictions.

    Args:
        predictions: One per answered row.
        normalize: What does not count in the comparison: `evaluate.normalize`.
        num_ungraded: Rows that could not be compared.
        seconds: Time that the answers took.
    """
    pairs = [(normalized(one.expected, normalize), normalized(one.answer, normalize)) for one in predictions]
    num_tokens = sum(one.num_tokens for one in predictions)
    return Scores(
        exact_match=proportion(sum(one.correct for one in predictions), len(predictions)) if predictions else None,
        classes=class_scores(pairs) if is_closed_label_set(expected for expected, _ in pairs) else None,
        num_unstopped=sum(not one.stopped for one in predictions),
        num_ungraded=num_ungraded,
        seconds=seconds,
        tokens_per_second=num_tokens / seconds if predictions else None,
    )


def write_scores(
    directory: Path, scores: Scores, predictions: Iterable[Prediction], *, suffix: str = ""
) -> tuple[Path, Path]:
    """Write `scores.json` and `predictions.jsonl`, each replaced as a whole.

    Args:
        directory: Where to; made when missing.
        scores: What `scores.json` gets.
        predictions: One line each in `predictions.jsonl`.
        suffix: Goes before the endings of both names: `-base` makes `scores-base.json`.

    Returns:
        The two paths.

    Raises:
        RunError: The directory cannot be written.
    """
    scores_path, predictions_path = directory / f"scores{suffix}.json", directory / f"predictions{suffix}.jsonl"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The scores come last: when they are there, so are the predictions that they were counted from.
        beside = predictions_path.with_name(f"{predictions_path.name}.part")
        with beside.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(asdict(one), ensure_ascii=False, default=str) + "\n" for one in predictions)
        beside.replace(predictions_path)
        write_json(scores_path, scores.to_dict())
    except OSError as error:
        raise RunError(
            f"The scores cannot be written to {directory}: {error.strerror or error}.",
            "Make room or fix the permissions there, or name another directory with --output.",
        ) from error
    return scores_path, predictions_path
