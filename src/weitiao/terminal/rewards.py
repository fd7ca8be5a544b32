"""Rewards of answers for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from weitiao.errors import Phrase
from weitiao.evaluation.reward_scores import Comparisons, ScoreReport
from weitiao.rollouts.samples import Sample
from weitiao.terminal.console import wording_of
from weitiao.terminal.tables import facts
from weitiao.text.wording import Wording


def comparison_facts(found: Comparisons, words: Wording) -> Iterator[tuple[str, str]]:
    """What rewards of pairs come to beside the accuracy and that of length alone, as names and values."""
    say, agreement = words.phrase, words("estimate", **asdict(found.length_agreement))
    yield say("Longer answer"), say(Phrase("has the higher reward in {share}", share=agreement))
    if (value := found.length_correlation) is not None:
        yield say("Reward and length"), say(Phrase("correlation {value:+.2f}", value=value))
    sure = words("list.comma").join(
        say(
            Phrase(
                "{sure:.0%} sure: right in {right:.0%} of {n:,}",
                sure=one.confidence, right=one.accuracy.value, n=one.accuracy.n,
            )
        )
        for one in found.reliability
    )  # fmt: skip
    apart = Phrase("{sure}; {error:.1%} apart on average", sure=sure, error=found.calibration_error)
    yield say("Calibration"), say(apart)


def print_report(report: ScoreReport, console: Console) -> None:
    """Print what a reward model gave rows."""
    scores = report.scores
    lines = [("Rows", f"{report.rows:,}" + (f", {report.left_out:,} left out" if report.left_out else ""))]
    lines.append(("Scores", f"mean {scores.mean:.3f}, std {scores.std:.3f}, {scores.low:.3f} to {scores.high:.3f}"))
    if report.comparisons is not None:
        lines.append(("Better answer", f"has the higher reward in {report.comparisons.accuracy}"))
        lines.append(("Longer answer", f"is the better one in {report.comparisons.longer}"))
        lines += comparison_facts(report.comparisons, wording_of(console))
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
        words = wording_of(console)
        console.print(Text(words(f"rollouts.{name}"), "bold underline"))
        for before, after in pairs:
            rewards = [f"{one.reward:.3g}" for one in (before, after) if one is not None and one.rewards]
            worth = words.phrase(Phrase("reward {values}", values=" → ".join(rewards))) if rewards else ""
            console.rule(Text(f"{after.row_id}  {worth}".rstrip()), align="left")
            if before is not None:
                console.print(Text(before.answer, "dim"))
            console.print(Text(after.answer, "bold"))
        console.print()
