"""Whether prompting is enough, and which model to tune if it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from weitiao.evaluation.borders import rows_needed
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import CONFIDENCE, Estimate, simultaneous
from weitiao.text.wording import LANGUAGES, Wording

Decision = Literal["prompting suffices", "tune", "undecided"]

_SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Contender:
    """A model with its best prompt.

    Attributes:
        model: Its name in the recipe.
        prompt: The prompt.
        score: In the primary metric.
        grades: Of every row in that metric, in the same order for all contenders.
        num_parameters: Its size.
        num_rewritten: Rows whose answer is right but for its wording, and counts as wrong.
        corrected: The score with an interval that holds although the prompt is the best of several; None when nothing
            was chosen.
        num_tried: Of how many models and prompts it was chosen.
    """

    model: str
    prompt: str
    score: Estimate
    grades: tuple[float, ...]
    num_parameters: int
    num_rewritten: int = 0
    corrected: Estimate | None = None
    num_tried: int = 1

    @property
    def sure(self) -> Estimate:
        """The score with the interval that says whether it is enough."""
        return self.corrected or self.score


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in one sentence, in English and in Chinese."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do after a baseline.

    Attributes:
        decision: `prompting suffices` when the target is at or below the lower end of a score's interval, corrected for
            the choice among all prompts; `tune` when it is above the upper end of all of them (the choice only makes
            that rarer); `undecided` otherwise, and without a target.
        model: The model to use, or to tune.
        prompt: Its best prompt.
        reasons: The numbers behind it.
        more_rows: For `undecided`, about how many more test rows would decide with a probability of 80 % if the score
            stays what it is; None when the score is at the target, and without a target.
    """

    decision: Decision
    model: str
    prompt: str
    reasons: tuple[Reason, ...]
    more_rows: int | None = None


def advise(contenders: Sequence[Contender], target: float | None, *, nearest_tried: bool = True) -> Advice:
    """Say whether prompting suffices.

    Of models that reach the target with certainty the smallest is advised. To be tuned is the one with the best
    baseline, or a smaller one that is not surely worse on the same rows (paired test at 5 %).

    Args:
        contenders: Each model with its best prompt; at least one.
        target: The least score, 0 to 1; None when nobody named one.
        nearest_tried: Whether prompts with the examples most like the question were among those tried.
    """
    best = max(contenders, key=lambda one: (one.score.value, -one.num_parameters))
    if target is None:
        return Advice("undecided", best.model, best.prompt, (_said("no_target", score=best.score),))
    enough = [one for one in contenders if one.sure.low >= target]
    if enough:
        smallest = min(enough, key=lambda one: (one.num_parameters, -one.score.value))
        return Advice("prompting suffices", smallest.model, smallest.prompt, _enough(smallest, best, target))
    if max(one.score.high for one in contenders) < target:
        chosen, why = _to_tune(contenders, best)
        reasons = (
            _said_of(best, "below", target=target),
            *_floor(contenders),
            *why,
            *_cheaper(best, target, nearest_tried),
        )
        return Advice("tune", chosen.model, chosen.prompt, reasons)
    chosen_well = best.score.value >= target and best.corrected is not None
    measured = best.sure if chosen_well else best.score
    needed = rows_needed(measured, target, confidence=simultaneous(best.num_tried) if chosen_well else CONFIDENCE)
    more = None if needed is None else max(1, needed - best.score.n)
    reasons = (_open(best, target, more), *_cheaper(best, target, nearest_tried))
    return Advice("undecided", best.model, best.prompt, reasons, more)


def _to_tune(contenders: Sequence[Contender], best: Contender) -> tuple[Contender, tuple[Reason, ...]]:
    """The model to tune, and why that one."""
    others = [one for one in contenders if one is not best]
    if not others:
        return best, ()
    tests = [(one, paired_difference(best.grades, one.grades)) for one in others]
    equal = [one for one, test in tests if test.p_value >= _SIGNIFICANCE and one.num_parameters < best.num_parameters]
    if not equal:
        return best, (_best_of(contenders, best),)
    chosen = min(equal, key=lambda one: (one.num_parameters, -one.score.value))
    test = next(test for one, test in tests if one is chosen)
    reason = _said(
        "smaller",
        model=chosen.model,
        best=best.model,
        difference=f"{100 * test.difference.value:+.1f}",
        p=test.p_value,
        size=_size(chosen.num_parameters),
        best_size=_size(best.num_parameters),
    )
    return chosen, (reason,)


def _said(key: str, **values: Any) -> Reason:
    """A sentence in both languages; scores, and sentences within it, are put in as the language writes them."""
    return Reason(**{language: _in(Wording(language), key, values) for language in LANGUAGES})


def _in(words: Wording, key: str, values: dict[str, Any]) -> str:
    def written(value: Any) -> Any:
        if isinstance(value, Reason):
            return getattr(value, words.language)
        return words("estimate", **asdict(value)) if isinstance(value, Estimate) else value

    return words(f"advice.{key}", **{name: written(value) for name, value in values.items()})


def _said_of(one: Contender, key: str, **values: Any) -> Reason:
    return _said(key, model=one.model, prompt=one.prompt, score=one.score, **values)


def _best_of(contenders: Sequence[Contender], best: Contender) -> Reason:
    has_smaller = any(one.num_parameters < best.num_parameters for one in contenders)
    return _said(f"best.{'larger' if has_smaller else 'smallest'}", model=best.model, n=len(contenders))


def _enough(chosen: Contender, best: Contender, target: float) -> tuple[Reason, ...]:
    reason = _said_of(chosen, "enough", choice=_choice(chosen), target=target)
    if chosen is best:
        return (reason,)
    size = _size(best.num_parameters)
    return reason, _said("larger", model=best.model, score=best.score.value, size=size)


def _floor(contenders: Sequence[Contender]) -> tuple[Reason, ...]:
    if len(contenders) == 1 or any(any(one.grades) for one in contenders):
        return ()
    return (_said("floor"),)


def _open(best: Contender, target: float, more: int | None) -> Reason:
    then = _said("then.border") if more is None else _said("then.rows", rows=more)
    if best.score.low >= target:  # only the correction puts it inside
        return _said_of(best, "open.corrected", choice=_choice(best), target=target, then=then)
    return _said_of(best, "open", target=target, then=then)


def _choice(one: Contender) -> Reason:
    """What the correction for the choice makes of the lower end; nothing when there was no choice."""
    return Reason("", "") if one.num_tried == 1 else _said("choice", low=one.sure.low, n=one.num_tried)


def _cheaper(best: Contender, target: float, nearest_tried: bool) -> tuple[Reason, ...]:
    """What is cheaper than tuning and was not tried, and a warning when only the wording is below the target."""
    reachable = best.score.value + best.num_rewritten / best.score.n
    reasons = [] if nearest_tried else [_said("nearest")]
    if best.score.value < target <= reachable:
        reasons.insert(0, _said("reworded", n=best.num_rewritten, reachable=reachable))
    return tuple(reasons)


def _size(num_parameters: int) -> str:
    return f"{num_parameters / 1e9:.1f} B" if num_parameters >= 1e9 else f"{num_parameters / 1e6:.0f} M"
