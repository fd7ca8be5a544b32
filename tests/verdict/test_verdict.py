"""Verdicts: at the borders, by the exact probability of a wrong one, in files, on the terminal and as exit codes."""

from __future__ import annotations

import io
import json
import math
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from weitiao.cli.proof import verdict as verdict_command
from weitiao.errors import RunError
from weitiao.evaluation.borders import VerdictConfig, rows_needed
from weitiao.evaluation.paired import PairedDifference, paired_difference
from weitiao.evaluation.statistics import Estimate, proportion
from weitiao.records import record_of
from weitiao.retention.comparison import RetentionComparison, compare_retention
from weitiao.retention.scores import PartScores, RetentionScores, accuracy, loss
from weitiao.terminal.verdict import verdict_panel
from weitiao.text.wording import Language
from weitiao.verdict.verdict import Verdict, decide, read_verdict, sentence, write_verdict

GOOD, BAD = Estimate(0.9, 0.86, 0.93, 200), Estimate(0.5, 0.43, 0.57, 200)
CONFIG = VerdictConfig(target=0.85, least_gain=0.05, largest_loss=0.02, retention="parts")


def gain(value: float, low: float, high: float, n: int = 200) -> PairedDifference:
    return PairedDifference(Estimate(value, low, high, n), 0.5, 0.5 + value, 0.01, "McNemar's exact test", 1, 1)


def scores(*parts: PartScores) -> RetentionScores:
    return RetentionScores("items", parts, {}, 1.0)


def right(num: int, n: int) -> dict[str, float]:
    """Grades of n items, the first of them right."""
    return {str(item): float(item < num) for item in range(n)}


def retention(before: int, after: int, n: int, *, guessing: float = 0.25) -> RetentionComparison:
    """One part with two choices of how many items are right; those that B gets wrong are among A's right ones."""
    return compare_retention(
        scores(accuracy("general", right(before, n), guessing=guessing)),
        scores(accuracy("general", right(after, n), guessing=guessing)),
    )


def statuses(verdict: Verdict) -> list[str]:
    return [reason.status for reason in verdict.reasons]


def test_all_points_met_ships() -> None:
    verdict = decide(GOOD, gain(0.3, 0.2, 0.4), retention(400, 400, 500), CONFIG)
    assert (verdict.decision, verdict.exit_code) == ("ship", 0)
    assert statuses(verdict) == ["met", "met", "met"]


def test_one_violated_point_is_enough_against_it() -> None:
    open_gain = gain(0.06, 0.01, 0.11)
    assert decide(BAD, open_gain, None, CONFIG).decision == "do not ship"
    assert decide(GOOD, gain(0.01, -0.02, 0.04), None, CONFIG).decision == "do not ship"
    lost = decide(GOOD, gain(0.3, 0.2, 0.4), retention(400, 300, 500), CONFIG)
    assert (lost.decision, lost.exit_code) == ("do not ship", 3)
    assert statuses(lost) == ["met", "met", "violated"]


def test_an_open_point_leaves_it_undecided_and_says_what_it_needs() -> None:
    verdict = decide(GOOD, gain(0.08, 0.01, 0.15), None, CONFIG)
    assert (verdict.decision, verdict.exit_code) == ("undecided", 4)
    (open_point,) = [reason for reason in verdict.reasons if reason.status == "open"]
    assert open_point.name == "gain"
    assert open_point.rows_needed is not None
    assert open_point.rows_needed > 200


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(0.85, 0.9, "met"), (0.8499, 0.9, "open"), (0.8, 0.85, "open"), (0.8, 0.8499, "violated")],
)
def test_target_at_its_border(low: float, high: float, status: str) -> None:
    verdict = decide(Estimate((low + high) / 2, low, high, 100), gain(0.3, 0.2, 0.4), None, CONFIG)
    assert statuses(verdict)[0] == status


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(0.05, 0.2, "met"), (0.0499, 0.2, "open"), (-0.1, 0.05, "open"), (-0.1, 0.0499, "violated")],
)
def test_gain_at_its_border(low: float, high: float, status: str) -> None:
    verdict = decide(GOOD, gain((low + high) / 2, low, high), None, CONFIG)
    assert statuses(verdict)[1] == status


def test_without_a_target_only_gain_and_retention_count() -> None:
    verdict = decide(BAD, gain(0.3, 0.2, 0.4), None, VerdictConfig(least_gain=0.05))
    assert [reason.name for reason in verdict.reasons] == ["gain"]
    assert verdict.decision == "ship"


def test_the_sign_of_a_loss_is_that_of_getting_worse() -> None:
    """12 of 400 right answers are lost: 3 points, above the tolerated two, which lie within the interval."""
    (_, _, kept) = decide(GOOD, gain(0.3, 0.2, 0.4), retention(300, 288, 400), CONFIG).reasons
    expected = paired_difference(list(right(300, 400).values()), list(right(288, 400).values())).difference
    assert kept.measured.value == pytest.approx(0.03)
    assert (kept.measured.low, kept.measured.high) == (-expected.high, -expected.low)
    assert (kept.unit, kept.asked, kept.at_least, kept.status) == ("points", 0.02, False, "open")


def test_losses_have_a_tolerance_of_their_own() -> None:
    rng = np.random.default_rng(0)
    before = {str(item): 3 + float(rng.normal()) for item in range(200)}
    for rise, status in ((0.0, "met"), (0.1, "violated"), (0.05, "open")):
        after = {item: value + rise + 0.02 * float(rng.normal()) for item, value in before.items()}
        comparison = compare_retention(scores(loss("text", before)), scores(loss("text", after)))
        (_, reason) = decide(
            GOOD, gain(0.3, 0.2, 0.4), comparison, VerdictConfig(largest_loss_nats=0.05, retention="parts")
        ).reasons
        assert (reason.name, reason.unit, reason.asked, reason.status) == ("text", "nats", 0.05, status)


def test_parts_together_have_more_to_say_than_each_alone() -> None:
    """Three parts of 100 items each, none of which changed: 100 items cannot rule out a loss of two points, 300 can."""
    parts = [accuracy(name, right(70, 100), guessing=0.25) for name in ("one", "two", "three")]
    same = compare_retention(scores(*parts), scores(*parts))
    big_gain = gain(0.3, 0.2, 0.4)
    assert decide(GOOD, big_gain, same, CONFIG).decision == "undecided"
    together = decide(GOOD, big_gain, same, CONFIG.model_copy(update={"retention": "overall"}))
    assert together.decision == "ship"
    assert [reason.name for reason in together.reasons] == ["target", "gain", "all accuracies"]
    assert together.reasons[-1].measured.n == 300
    assert "accuracy on all parts together may fall" in sentence(together.reasons[-1], "en")
    assert "it did not change" in sentence(together.reasons[-1], "en")
    assert sentence(together.reasons[-1], "zh").startswith("各部分合计的准确率最多可下降")


def test_a_part_that_is_surely_lost_is_not_hidden_by_the_others() -> None:
    """One part of 100 falls from 70 to 45 while another of 1,000 rises by as much: together nothing is lost."""
    before = scores(accuracy("lost", right(70, 100), guessing=0.25), accuracy("won", right(500, 1000), guessing=0.25))
    after = scores(accuracy("lost", right(45, 100), guessing=0.25), accuracy("won", right(530, 1000), guessing=0.25))
    verdict = decide(
        GOOD, gain(0.3, 0.2, 0.4), compare_retention(before, after), CONFIG.model_copy(update={"retention": "overall"})
    )
    assert {reason.name: reason.status for reason in verdict.reasons[2:]} == {
        "all accuracies": "met", "lost": "violated",
    }  # fmt: skip
    assert verdict.decision == "do not ship"


def test_what_the_comparison_calls_lost_the_verdict_does_not_ship_and_nothing_else() -> None:
    """All falls of 40 right answers of 90: one rule decides both, and what is surely worse is said at least."""
    config = VerdictConfig(least_rows=30)
    for lost in range(0, 40, 2):
        comparison = compare_retention(
            scores(
                accuracy("arithmetic", right(40, 90), guessing=0.0), accuracy("other", right(500, 900), guessing=0.25)
            ),
            scores(
                accuracy("arithmetic", right(40 - lost, 90), guessing=0.0),
                accuracy("other", right(500, 900), guessing=0.25),
            ),
        )
        verdict = decide(GOOD, gain(0.3, 0.2, 0.4), comparison, config)
        part = comparison.parts[0]
        assert (part.outcome == "lost") == (verdict.decision == "do not ship") == (part.decline.low > 0.05)
        assert (part.outcome == "worse") == ([one.name for one in verdict.noted] == ["arithmetic"])
        assert part.outcome in ("lost", "worse") or part.p_value > 0.05 or part.decline.high <= 0.05
    assert part.outcome == "lost"


def test_eight_of_ninety_lost_is_worse_noted_and_no_reason_by_itself() -> None:
    comparison = retention(40, 32, 90, guessing=0.0)
    (part,) = comparison.parts
    assert (part.p_value < 0.01, part.decline.low < 0.05 < part.decline.value) == (True, True)
    assert (part.outcome, comparison.lost, comparison.worse) == ("worse", (), ("general", "all accuracies"))
    (noted,) = decide(GOOD, gain(0.3, 0.2, 0.4), comparison, VerdictConfig()).noted
    assert "accuracy on general may fall by at most 5.0 points; it fell by 8.9 points" in sentence(noted, "en")
    by_parts = decide(GOOD, gain(0.3, 0.2, 0.4), comparison, VerdictConfig(retention="parts"))
    assert (by_parts.decision, by_parts.noted) == ("undecided", ())


def test_a_comparison_is_judged_by_the_verdict_section_of_now() -> None:
    """What was compared under another tolerance, or by an earlier version, gets its outcome when it is decided."""
    comparison = retention(400, 370, 500)
    assert [comparison.judged(VerdictConfig(largest_loss=most)).parts[0].outcome for most in (0.02, 0.05, 0.1)] == [
        "lost", "worse", "kept",
    ]  # fmt: skip
    values = comparison.to_dict()
    for part in (*values["parts"], *values["overall"]):
        del part["tolerated"]
        part["outcome"] = "lost"
    old = record_of(RetentionComparison, json.loads(json.dumps(values)))
    assert decide(GOOD, gain(0.3, 0.2, 0.4), old, VerdictConfig(largest_loss=0.1)).decision == "ship"


def test_a_part_that_cannot_show_forgetting_is_said_and_does_not_count() -> None:
    """At the floor before: 26 of 100 with four choices; a fall to nothing would otherwise be a violation."""
    comparison = retention(26, 0, 100)
    assert not comparison.parts[0].informative
    verdict = decide(GOOD, gain(0.3, 0.2, 0.4), comparison, CONFIG)
    assert verdict.decision == "ship"
    assert [one.name for one in verdict.set_aside] == ["general"]
    assert "guessing" in verdict.set_aside[0].reason
    assert "general does not count" in printed(verdict)
    assert "无法反映遗忘的部分：general" in printed(verdict, language="zh")


def test_a_handful_of_rows_decides_nothing() -> None:
    """Losses that rise alike on a few rows have an interval without width, which says nothing about the next row."""
    alike = paired_difference([2.0] * 8, [2.5] * 8).difference
    assert alike.low == alike.high
    verdict = decide(alike, gain(0.5, 0.5, 0.5, n=8), None, VerdictConfig(target=0.9, least_gain=0.05))
    assert statuses(verdict) == ["open", "open"]
    assert [reason.rows_needed for reason in verdict.reasons] == [30, 30]
    assert (
        decide(alike, gain(0.5, 0.5, 0.5, n=8), None, VerdictConfig(target=0.9, least_rows=8)).decision == "do not ship"
    )


@pytest.mark.parametrize(("n", "target"), list(product((50, 150, 500), (0.5, 0.85, 0.95))))
def test_a_score_at_the_target_is_decided_wrongly_in_no_more_than_a_few_percent(n: int, target: float) -> None:
    """The exact probability, over all outcomes of the binomial distribution, of either decisive status."""
    chance = dict.fromkeys(("met", "violated", "open"), 0.0)
    for num in range(n + 1):
        verdict = decide(proportion(num, n), gain(0.3, 0.2, 0.4), None, VerdictConfig(target=target))
        chance[statuses(verdict)[0]] += float(stats.binom.pmf(num, n, target))
    assert chance["met"] <= 0.05
    assert chance["violated"] <= 0.05
    assert chance["met"] + chance["violated"] <= 0.065


@pytest.mark.parametrize(("n", "changed", "border"), [(80, 0.3, 0.05), (120, 0.15, 0.0), (120, 0.5, 0.2)])
def test_a_gain_at_the_border_is_decided_wrongly_in_no_more_than_a_few_percent(
    n: int, changed: float, border: float
) -> None:
    """The exact probability over all numbers of items that get better and worse."""
    better, worse = (changed + border) / 2, (changed - border) / 2
    chance = dict.fromkeys(("met", "violated", "open"), 0.0)
    for num_better in range(n + 1):
        for num_worse in range(n + 1 - num_better):
            counts = (num_better, num_worse, n - num_better - num_worse)
            weight = float(stats.multinomial.pmf(counts, n, (better, worse, 1 - changed)))
            if weight < 1e-6:
                continue
            before = [0.0] * num_better + [1.0] * num_worse + [1.0] * counts[2]
            after = [1.0] * num_better + [0.0] * num_worse + [1.0] * counts[2]
            difference = paired_difference(before, after)
            verdict = decide(GOOD, difference, None, VerdictConfig(least_gain=border))
            chance[statuses(verdict)[0]] += weight
    assert chance["met"] <= 0.05
    assert chance["violated"] <= 0.05
    assert math.fsum(chance.values()) == pytest.approx(1, abs=0.01)


def test_a_loss_at_the_border_is_decided_wrongly_in_no_more_than_a_few_percent() -> None:
    """Simulated: losses of 80 passages rise by exactly what is tolerated on average, each by its own amount."""
    rng = np.random.default_rng(1)
    num = 150
    outcomes = []
    for _ in range(num):
        before = rng.gamma(6, 0.5, size=80)
        after = before + 0.05 + 0.15 * rng.standard_t(6, size=80)
        comparison = compare_retention(
            scores(loss("text", dict(zip(map(str, range(80)), before.tolist(), strict=True)))),
            scores(loss("text", dict(zip(map(str, range(80)), after.tolist(), strict=True)))),
        )
        outcomes.append(
            statuses(
                decide(GOOD, gain(0.3, 0.2, 0.4), comparison, VerdictConfig(largest_loss=0.02, retention="parts"))
            )[-1]
        )
    for status in ("met", "violated"):
        # 2.5 % are meant; up to 5 % would be let pass, and chance may add three standard errors
        assert outcomes.count(status) / num <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / num)
    assert outcomes.count("open") / num > 0.85


@pytest.mark.parametrize(("truth", "target"), [(0.9, 0.85), (0.8, 0.85), (0.55, 0.5)])
def test_as_many_rows_as_are_called_for_settle_it_four_times_in_five(truth: float, target: float) -> None:
    needed = rows_needed(proportion(round(100 * truth), 100), target)
    assert needed is not None
    settled = 0.0
    for num in range(needed + 1):
        (status, _) = statuses(decide(proportion(num, needed), gain(0.3, 0.2, 0.4), None, VerdictConfig(target=target)))
        if status == ("met" if truth > target else "violated"):
            settled += float(stats.binom.pmf(num, needed, truth))
    assert 0.7 <= settled <= 0.9


def test_no_number_of_rows_settles_what_stands_at_the_border() -> None:
    assert rows_needed(Estimate(0.85, 0.8, 0.9, 100), 0.85) is None
    assert rows_needed(Estimate(0.85001, 0.8, 0.9, 100), 0.85) is None


def test_the_file_holds_all_of_it(tmp_path: Path) -> None:
    verdict = decide(GOOD, gain(0.08, 0.01, 0.15), retention(26, 0, 100), CONFIG)
    path = write_verdict(tmp_path, verdict)
    assert read_verdict(tmp_path) == verdict
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["decision"], written["exit_code"]) == ("undecided", 4)
    assert written["reasons"][0]["measured"] == {"value": 0.9, "low": 0.86, "high": 0.93, "n": 200}
    assert written["reasons"][1]["status"] == "open"


def test_reasons_are_sentences_in_two_languages() -> None:
    verdict = decide(GOOD, gain(0.08, 0.01, 0.15), retention(400, 300, 500), CONFIG)
    first, second, third = verdict.reasons
    assert sentence(first, "en") == (
        "The score of the tuned model has to be at least 85.0% and is 90.0% (95% interval 86.0% to 93.0%, n = 200): "
        "met."
    )
    assert sentence(second, "en").endswith(f": open, about {second.rows_needed:,} rows would settle it.")
    assert "may fall by at most 2.0 points; it fell by 20.0 points (95% interval -23" in sentence(third, "en")
    assert (
        sentence(first, "zh")
        == "微调后模型的得分至少应为 85.0%，实测 90.0%（95% 置信区间 86.0% 至 93.0%，n = 200）：达到。"
    )
    assert "约需" in sentence(second, "zh")
    assert "general的准确率最多可下降 2.0 个百分点，实际下降 20.0 个百分点（95% 置信区间 -23" in sentence(third, "zh")


def test_a_gain_elsewhere_is_called_a_rise() -> None:
    rising = decide(GOOD, gain(0.3, 0.2, 0.4), retention(300, 350, 500), CONFIG)
    assert "fall by at most 2.0 points; it rose by 10.0 points (95% interval +7" in sentence(rising.reasons[-1], "en")
    assert "最多可下降 2.0 个百分点，实际上升 10.0 个百分点" in sentence(rising.reasons[-1], "zh")
    assert re.search(r"≥ -2\.0 points +\+10\.0 \(\+7", printed(rising))
    losses = scores(loss("text", {str(item): 3 + 0.01 * (item % 7) for item in range(60)}))
    less = scores(loss("text", {str(item): 2.9 + 0.012 * (item % 7) for item in range(60)}))
    falling = decide(GOOD, gain(0.3, 0.2, 0.4), compare_retention(losses, less), CONFIG)
    assert "The loss on text may rise by at most 0.050 nats; it fell by 0.09" in sentence(falling.reasons[-1], "en")
    assert re.search(r"≤ \+0\.050 nats +-0\.09", printed(falling))


def printed(verdict: Verdict, width: int = 130, language: Language = "en") -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(verdict_panel(verdict, language))
    return stream.getvalue()


def test_the_panel_shows_decision_and_every_reason() -> None:
    text = printed(decide(GOOD, gain(0.08, 0.01, 0.15), retention(400, 300, 500), CONFIG), width=80)
    for words in (
        "DO NOT SHIP",
        "不要上线",
        "Score on the task",
        "≥ 85.0%",
        "Gain over best prompt",
        "≥ -2.0 points",
    ):
        assert words in text
    assert "violated" in text


def test_the_panel_says_every_reason_in_chinese() -> None:
    verdict = decide(GOOD, gain(0.08, 0.01, 0.15), retention(400, 300, 500), CONFIG)
    text = printed(verdict, width=200, language="zh")
    for reason in verdict.reasons:
        assert sentence(reason, "zh") in text
    assert not re.search("Asked|Measured|violated", text)


@pytest.mark.parametrize(
    ("tuned", "difference", "code"),
    [(GOOD, gain(0.3, 0.2, 0.4), 0), (BAD, gain(0.3, 0.2, 0.4), 3), (GOOD, gain(0.08, 0.01, 0.15), 4)],
)
def test_the_command_exits_with_the_verdict(
    tmp_path: Path, tuned: Estimate, difference: PairedDifference, code: int
) -> None:
    write_verdict(tmp_path, decide(tuned, difference, None, CONFIG))
    app = typer.Typer()
    app.command()(verdict_command)
    shown = CliRunner().invoke(app, [str(tmp_path)])
    assert shown.exit_code == code
    assert "Gain over best prompt" in shown.stdout
    as_json = CliRunner().invoke(app, [str(tmp_path), "--json"])
    assert as_json.exit_code == code
    assert json.loads(as_json.stdout)["exit_code"] == code


def test_a_directory_without_a_verdict_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no verdict\.json"):
        read_verdict(tmp_path)
    (tmp_path / "verdict.json").write_text('{"decision": "ship"}', encoding="utf-8")
    with pytest.raises(RunError, match="damaged"):
        read_verdict(tmp_path)
