"""Rewards of answers for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from weitiao.evaluation.reward_scores import Comparisons, ScoreReport
from weitiao.rollouts.samples import Sample
from weitiao.terminal.tables import facts
from weitiao.text.wording import Wording


def comparison_facts(found: Comparisons) -> Iterator[tuple[str, str]]:
    """What rewards of pairs come to beside the accuracy and that of length alone, as names and values."""
    yield "Longer answer", f"has the higher reward in {found.length_agreement}"
    if found.length_correlation is not None:
        yield "Reward and length", f"correlation {found.length_correlation:+.2f}"
    sure = ", ".join(
        f"{one.confidence:.0%} sure: right in {one.accuracy.value:.0%} of {one.accuracy.n:,}"
        for one in found.reliability
    )
    yield "Calibration", f"{sure}; {found.calibration_error:.1%} apart on average"


def print_report(report: ScoreReport, console: Console) -> None:
    """Print what a reward model gave rows."""
    scores = report.scores
    lines = [("Rows", f"{report.rows:,}" + (f", {report.left_out:,} left out" if report.left_out else ""))]
    lines.append(("Scores", f"mean {scores.mean:.3f}, std {scores.std:.3f}, {scores.low:.3f} to {scores.high:.3f}"))
    if report.comparisons is not None:
        lines.append(("Better answer", f"has the higher reward in {report.comparisons.accuracy}"))
        lines.append(("Longer answer", f"is the better one in {report.comparisons.longer}"))
        lines += comparison_facts(report.comparisons)
    if (steps := report.steps) is not None:
        lines.append(("Steps", f"judged rightly {steps.accuracy}; right are {steps.right}"))
        lines.append(("First wrong step", f"found in {steps.first_wrong}"))
    console.print(Text(report.model, "bold underline"))
    console.print(facts(lines))


def print_answers(found: Mapping[str, Sequence[tuple[Sample | None, Sample]]], console: Console) -> None:
    """Print answers that the model wrote, those of `notable`."""
    for name, pairs in found.items():
        if not pairs:  # the first and the last rollout may have no prompt in common
            continue
        console.print(Text(Wording("en")(f"rollouts.{name}"), "bold underline"))
        for before, after in pairs:
            rewards = [f"{one.reward:.3g}" for one in (before, after) if one is not None and one.rewards]
            worth = f"  reward {' → '.join(rewards)}" if rewards else ""
            console.rule(Text(f"{after.row_id}{worth}"), align="left")
            if before is not None:
                console.print(Text(before.answer, "dim"))
            console.print(Text(after.answer, "bold"))
        console.print()
