"""Before and after, item by item: the outcomes, the sign, the noise, and what is not informative."""

from __future__ import annotations

import json
import random

import pytest
from scipy import stats

from weitiao.errors import RunError
from weitiao.evaluation.borders import VerdictConfig
from weitiao.records import record_of
from weitiao.retention.comparison import PartComparison, RetentionComparison, compare_retention
from weitiao.retention.scores import PartScores, RetentionScores, accuracy, loss

NUM = 200
STRICT = VerdictConfig(largest_loss=0.02)


def grades(values: list[float]) -> dict[str, float]:
    return {f"item-{i}": value for i, value in enumerate(values)}


def scores(*parts: PartScores, fingerprint: str = "f") -> RetentionScores:
    return RetentionScores(fingerprint, parts, {}, 1.0)


def right(num: int, *, guessing: float = 0.25, noise: float = 0.0) -> PartScores:
    part = accuracy("knowledge", grades([1.0] * num + [0.0] * (NUM - num)), guessing=guessing)
    return PartScores(part.name, part.kind, part.estimate, part.grades, part.guessing, noise)


def losses(shift: float, *, spread: float = 0.02, noise: float = 0.0) -> PartScores:
    rng = random.Random(0)
    values = [2 + 0.5 * rng.random() for _ in range(40)]
    moved = [value + shift + spread * (rng.random() - 0.5) * (shift != 0) for value in values]
    part = loss("text", grades(moved))
    return PartScores(part.name, part.kind, part.estimate, part.grades, None, noise)


def only(comparison: RetentionComparison) -> PartComparison:
    (part,) = comparison.parts
    return part


def test_a_large_fall_of_accuracy_is_lost() -> None:
    comparison = compare_retention(scores(right(150)), scores(right(110)))
    part = only(comparison)
    assert (part.outcome, comparison.lost) == ("lost", ("knowledge", "all accuracies"))
    assert part.difference.value == pytest.approx(-0.2)
    assert part.decline.value == pytest.approx(0.2)
    assert part.decline.low == -part.difference.high > 0.02
    assert part.p_value == pytest.approx(stats.binomtest(0, 40).pvalue)


def test_a_gain_is_kept() -> None:
    assert only(compare_retention(scores(right(110)), scores(right(150)))).outcome == "kept"


def test_a_small_fall_of_few_items_is_unclear() -> None:
    assert only(compare_retention(scores(right(150)), scores(right(145)), STRICT)).outcome == "unclear"


def test_more_is_kept_when_more_is_tolerated() -> None:
    before, after = scores(right(150)), scores(right(140))
    assert only(compare_retention(before, after, STRICT)).outcome == "lost"
    assert only(compare_retention(before, after, VerdictConfig(largest_loss=0.12))).outcome == "kept"


def test_a_loss_that_rises_is_worse() -> None:
    part = only(compare_retention(scores(losses(0)), scores(losses(0.2))))
    assert part.outcome == "lost"
    assert part.decline == part.difference
    assert part.difference.low < 0.2 < part.difference.high
    assert only(compare_retention(scores(losses(0)), scores(losses(-0.2)))).outcome == "kept"


def test_a_loss_that_surely_rises_but_by_less_than_is_tolerated_is_kept() -> None:
    part = only(compare_retention(scores(losses(0)), scores(losses(0.02))))
    assert part.difference.low > 0
    assert part.outcome == "kept"


def test_a_change_within_the_noise_means_nothing() -> None:
    """Five points fewer are lost where two are tolerated, but not when the model differs by six from itself."""
    noisy = compare_retention(scores(right(150, noise=0.06)), scores(right(140)), STRICT)
    assert (only(noisy).outcome, only(noisy).tolerated) == ("unclear", 0.06)
    assert only(compare_retention(scores(right(150)), scores(right(140)), STRICT)).outcome == "lost"
    assert only(compare_retention(scores(right(150)), scores(right(150)))).outcome == "kept"
    assert noisy.noise == {"knowledge": 0.06}
    rounding = scores(losses(0, noise=1e-6)), scores(losses(1e-7, spread=1e-9))
    assert only(compare_retention(*rounding, VerdictConfig(largest_loss_nats=0))).outcome == "kept"


def test_one_item_gives_a_loss_no_interval_and_no_outcome() -> None:
    """Interval and difference of a loss know no bounds: 2.3 nats are not 0.475 to 1.269, nor 0.3 within 0 and 1."""
    for value in (2.3, 0.3):
        one = loss("text", {"a": value})
        assert (one.estimate.low, one.estimate.value, one.estimate.high) == (value, value, value)
        assert not one.estimate.has_interval
        comparison = compare_retention(scores(one, losses(0)), scores(loss("text", {"a": value + 0.02}), losses(0)))
        part = comparison.parts[0]
        assert (part.outcome, part.reason) == ("not informative", "one item gives no interval")
        assert not part.difference.has_interval
        assert comparison.overall[0].difference.n == 40
    alike = loss("text", dict.fromkeys(map(str, range(40)), 0.4)).estimate
    assert (alike.low, alike.high, alike.has_interval) == (pytest.approx(0.4), alike.value, True)
    assert loss("text", {"a": 0.0, "b": 1.0, "c": 0.0}).estimate.high > 0.9  # no share of right answers


@pytest.mark.parametrize(
    ("num", "guessing", "reason"),
    [(55, 0.25, "guessing"), (30, 0.25, "guessing"), (NUM, 0.25, "ceiling"), (0, 0.0, "guessing")],
)
def test_a_part_at_the_floor_or_the_ceiling_shows_nothing(num: int, guessing: float, reason: str) -> None:
    comparison = compare_retention(scores(right(num, guessing=guessing), losses(0)), scores(right(20), losses(0.2)))
    part = comparison.parts[0]
    assert (part.outcome, part.informative) == ("not informative", False)
    assert reason in part.reason
    assert [total.name for total in comparison.overall] == ["all losses"]


def test_totals_pool_the_items_of_informative_parts() -> None:
    other = accuracy("arithmetic", grades([1.0] * 30 + [0.0] * 30), guessing=0.0)
    worse = accuracy("arithmetic", grades([1.0] * 24 + [0.0] * 36), guessing=0.0)
    floor = accuracy("chinese", grades([1.0] * 15 + [0.0] * 45), guessing=0.25)
    comparison = compare_retention(scores(right(150), other, floor), scores(right(140), worse, floor))
    (total,) = comparison.overall
    assert total.difference.n == NUM + 60
    assert total.difference.value == pytest.approx(-16 / (NUM + 60))
    assert total.p_value == pytest.approx(stats.binomtest(0, 16).pvalue)


def test_scores_of_other_items_are_not_compared() -> None:
    with pytest.raises(RunError, match="different items"):
        compare_retention(scores(right(150)), scores(right(150), fingerprint="other"))
    with pytest.raises(RunError, match="chat template"):
        compare_retention(RetentionScores("f", (), {"arithmetic": "why"}, 1.0), scores())


def test_scores_and_comparison_come_back_from_json() -> None:
    before = RetentionScores("f", (right(150), losses(0, noise=1e-6)), {"arithmetic": "no template"}, 12.5)
    assert record_of(RetentionScores, json.loads(json.dumps(before.to_dict()))) == before
    after = RetentionScores("f", (right(100), losses(0.1)), {"arithmetic": "no template"}, 12.5)
    comparison = compare_retention(before, after)
    values = json.loads(json.dumps(comparison.to_dict()))
    assert record_of(RetentionComparison, values) == comparison
    assert values["parts"][0]["before"] == {
        name: getattr(before.parts[0].estimate, name) for name in ("value", "low", "high", "n")
    }
    assert values["lost"] == list(comparison.lost)
