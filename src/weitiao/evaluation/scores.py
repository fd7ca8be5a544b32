"""The scores of a model, and the two files they are kept in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from weitiao.evaluation.answer_files import AnswersKey, keep_answers
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.metrics.base import Metric
from weitiao.evaluation.metrics.labels import ClassScores, Labels
from weitiao.evaluation.statistics import Estimate
from weitiao.files import sha256, writable, write_json
from weitiao.records import Number, read_record

_REMEDY = "Write it again with `weitiao eval`."


@dataclass(frozen=True, slots=True)
class ValidationLoss:
    """Mean loss of a target.

    Attributes:
        loss: Mean over all targets, each as `train.weigh` counts it, in nats.
        num_targets: Targets it was taken over.
        num_sequences: Sequences they belong to.
    """

    loss: Number
    num_targets: int
    num_sequences: int


@dataclass(frozen=True, slots=True)
class Scores:
    """How good a model is on the test rows (and the validation rows).

    Attributes:
        primary: The first metric: the one that is compared and decided by.
        metrics: The score of every metric by its name, the primary one first; empty when no row was answered.
        details: What metrics have to say beside their score, by the metric's name.
        classes: Scores per class, when a metric is one of labels; None otherwise.
        num_unstopped: Answers that the limit of new tokens cut off.
        num_ungraded: Test rows without an answer to compare with (raw text, mere tool calls), which were left out.
        seconds: Time that the answers took, of all rows together.
        tokens_per_second: Generated tokens per second; None when no row was answered.
        validation_loss: Mean loss per target on the validation rows; None when it was not computed.
        validation_perplexity: The exponential of it; n counts sequences.
        validation_nats_per_character: The loss by the characters of raw text; None where the rows are not raw text.
        validation_bits_per_byte: The same in bits by the bytes of their UTF-8.
        benchmarks: The scores of each benchmark, by its name and theirs.
    """

    primary: str
    metrics: dict[str, Estimate]
    details: dict[str, dict[str, Any]]
    classes: ClassScores | None
    num_unstopped: int
    num_ungraded: int
    seconds: float
    tokens_per_second: float | None
    validation_loss: ValidationLoss | None = None
    validation_perplexity: Estimate | None = None
    validation_nats_per_character: Estimate | None = None
    validation_bits_per_byte: Estimate | None = None
    benchmarks: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    @property
    def exact_match(self) -> Estimate | None:
        """The score of the metric `exact_match`; None when it was not computed."""
        return self.metrics.get("exact_match")

    def to_dict(self) -> dict[str, Any]:
        """The scores as plain JSON values: the attributes, and `exact_match` beside them."""
        values = asdict(self)
        match = values["metrics"].get("exact_match")
        return {"primary": values.pop("primary"), "metrics": values.pop("metrics"), "exact_match": match, **values}


def score(
    predictions: Sequence[Prediction], metrics: Sequence[Metric], *, num_ungraded: int = 0, seconds: float
) -> Scores:
    """Score predictions.

    Args:
        predictions: One per answered row, with the grades of these metrics.
        metrics: At least one, the primary one first.
        num_ungraded: Rows that could not be compared.
        seconds: Time that the answers took.
    """
    items = [one.item for one in predictions]
    grades = {metric.title: [one.grades[metric.title] for one in predictions] for metric in metrics}
    details = {metric.title: metric.details(items) for metric in metrics if items}
    of_labels = [metric for metric in metrics if isinstance(metric, Labels)]
    num_tokens = sum(one.num_tokens for one in predictions)
    return Scores(
        primary=metrics[0].title,
        metrics={metric.title: metric.estimate(items, grades[metric.title]) for metric in metrics if items},
        details={name: found for name, found in details.items() if found},
        classes=of_labels[0].classes(items) if of_labels and items else None,
        num_unstopped=sum(not one.stopped for one in predictions),
        num_ungraded=num_ungraded,
        seconds=seconds,
        tokens_per_second=num_tokens / seconds if predictions else None,
    )


def without_answers(primary: str) -> Scores:
    """The scores of a model that was not asked anything."""
    return Scores(primary, {}, {}, None, num_unstopped=0, num_ungraded=0, seconds=0.0, tokens_per_second=None)


def write_scores(
    directory: Path,
    scores: Scores,
    predictions: Iterable[Prediction],
    *,
    suffix: str = "",
    of: Mapping[str, str] | None = None,
    key: AnswersKey | None = None,
) -> tuple[Path, Path]:
    """Write `scores.json` and `predictions.jsonl`, each replaced as a whole.

    Args:
        directory: Where to; made when missing.
        scores: What `scores.json` gets.
        predictions: One line each in `predictions.jsonl`.
        suffix: Goes before the endings of both names: `-base` makes `scores-base.json`.
        of: Hashes of what the scores belong to; that of the predictions comes with them, in the key `of`.
        key: What the answers were made from.

    Returns:
        The two paths.

    Raises:
        RunError: The directory cannot be written.
    """
    scores_path, predictions_path = directory / f"scores{suffix}.json", directory / f"predictions{suffix}.jsonl"
    with writable(directory, "The scores"):
        # The scores come last: when they are there, so are the predictions that they were counted from.
        keep_answers(predictions_path, predictions, key)
        belongs_to = {**(of or {}), "files": {predictions_path.name: sha256(predictions_path)}}
        write_json(scores_path, {**scores.to_dict(), "of": belongs_to})
    return scores_path, predictions_path


def read_scores(path: Path) -> Scores:
    """The scores of a `scores.json`.

    Raises:
        RunError: The file is not there, or was not written by this version.
    """
    return read_record(Scores, path, missing=_REMEDY, damaged=_REMEDY)
