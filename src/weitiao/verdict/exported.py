"""Exported models: what each was measured to be beside the tuned model, and which of them is still good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from weitiao.evaluation.paired import PairedDifference
from weitiao.files import write_json
from weitiao.records import Number, read_record

EXPORTS_FILE = "exports.json"

Outcome = Literal["good", "worse", "undecided", "refused"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the engine that serves an exported model agrees with the tuned model, question by question.

    Attributes:
        num_prompts: Prompts that were read and answered.
        num_tokens: Tokens whose log-probabilities were compared.
        other_ids: Prompts that the engine cuts into other tokens than training did.
        mean_difference: Mean absolute difference of the log-probability of a token, in nats.
        max_difference: The largest.
        allowed: What the mean may be in this format.
        same_answers: Share of greedy answers that are the same, token by token.
        missing_ends: Tokens that end an answer in training and evaluation, and not in the engine.
        same_template: Whether the chat template is that of the training.
    """

    num_prompts: int
    num_tokens: int
    other_ids: int
    mean_difference: Number
    max_difference: Number
    allowed: float
    same_answers: float
    missing_ends: tuple[str, ...] = ()
    same_template: bool = True

    def objections(self) -> list[str]:
        """Why this is not the tuned model; empty when it is, up to its rounding."""
        found = []
        if self.other_ids:
            found.append(f"{self.other_ids} of {self.num_prompts} prompts are cut into other tokens than in training")
        if not self.same_template:
            found.append("it has another chat template than the training had")
        if self.missing_ends:
            found.append(f"answers would not end at {', '.join(self.missing_ends)}")
        if not self.mean_difference <= self.allowed:  # also when it is no number
            found.append(
                f"log-probabilities differ by {self.mean_difference:.3g} nats a token on average "
                f"(allowed: {self.allowed:g})"
            )
        return found


@dataclass(frozen=True, slots=True)
class Exported:
    """A model in a format, and what it was measured to be.

    Attributes:
        format: Its name, as `--to` says it.
        path: The directory; None for one that was refused, of which nothing was kept.
        engine: What it was run by.
        outcome: `good` when it surely loses no more than was allowed, `worse` when it surely loses more, `undecided`
            between the two; `refused` when it is not the tuned model, or could not be made.
        reason: One sentence.
        size_bytes: Of the files that an engine needs.
        memory_bytes: What the process holds while it answers, one answer at a time.
        tokens_per_second: Of one answer, after its prompt, by the median time of a token.
        load_seconds: From the start to the first question.
        agreement: With the tuned model; None when it did not get so far.
        metric: By which answers were graded; empty without graded rows.
        quality: That metric, the tuned model before and the exported one after, on the same rows.
        nats: The loss per learned token of each row, before and after, on the same rows.
        perplexity: Of the learned tokens of those rows, before and after.
    """

    format: str
    path: Path | None
    engine: str
    outcome: Outcome
    reason: str
    size_bytes: int = 0
    memory_bytes: int = 0
    tokens_per_second: float = 0.0
    load_seconds: float = 0.0
    agreement: Agreement | None = None
    metric: str = ""
    quality: PairedDifference | None = None
    nats: PairedDifference | None = None
    perplexity: tuple[Number, Number] | None = None


@dataclass(frozen=True, slots=True)
class Exports:
    """The exported models of a run.

    Attributes:
        weights: Hash of the tuned weights that they were made from.
        largest_loss: What the metric may lose: 0.02 are two points.
        num_rows: Rows that were asked at most.
        tuned: The model as it was trained, which the others are held against.
        models: In the order in which they were asked for.
        of: What this belongs to, as `runs.belonging` reads it.
    """

    weights: str
    largest_loss: float
    num_rows: int
    tuned: Exported
    models: tuple[Exported, ...]
    of: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when all are good, 3 when one is refused or worse, 4 when one is undecided."""
        found = {one.outcome for one in self.models}
        return 3 if found & {"refused", "worse"} else 4 if "undecided" in found else 0


def judge(quality: PairedDifference | None, nats: PairedDifference | None, largest_loss: float) -> tuple[Outcome, str]:
    """Whether an exported model is still good, by the 95 % interval of what it loses.

    Args:
        quality: The recipe's metric before and after, on the same rows; None where nothing is graded.
        nats: The loss per token of each row before and after; what decides where nothing is graded.
        largest_loss: What the metric may lose; of a loss per token, the share by which the perplexity may grow.
    """
    if quality is not None:
        gain, what = quality.difference, f"{100 * quality.difference.value:+.1f} points"
        low, high = gain.low, gain.high
    elif nats is not None:
        low, high = -nats.difference.high, -nats.difference.low
        what = f"{nats.difference.value:+.3f} nats a token"
    else:
        return "undecided", "no held-out row tells what it loses"
    if low >= -largest_loss:
        return "good", f"{what}: surely no more than {largest_loss:g} is lost"
    if high < -largest_loss:
        return "worse", f"{what}: more than {largest_loss:g} is lost"
    return "undecided", f"{what}: more rows would tell whether more than {largest_loss:g} is lost"


def smallest_good(models: Sequence[Exported], limit_bytes: int | None = None) -> Exported | None:
    """The smallest model that is good and no larger than a limit; None when there is none."""
    fitting = [one for one in models if one.outcome == "good" and one.size_bytes <= (limit_bytes or one.size_bytes)]
    return min(fitting, key=lambda one: one.size_bytes, default=None)


def write_exports(run: Path, exports: Exports) -> None:
    """Write `exports.json` of a run directory."""
    write_json(run / EXPORTS_FILE, exports)


def read_exports(run: Path) -> Exports:
    """Read `exports.json` of a run directory.

    Raises:
        RunError: There is none, or it is damaged.
    """
    remedy = "Export it again: weitiao export RUN --to FORMAT."
    return read_record(Exports, run / EXPORTS_FILE, missing=remedy, damaged=remedy)
