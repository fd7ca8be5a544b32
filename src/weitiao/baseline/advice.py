"""Whether prompting is enough, and which model to tune if it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from weitiao.evaluation.borders import rows_needed
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import CONFIDENCE, Estimate, simultaneous

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
        return Advice("undecided", best.model, best.prompt, (_no_target(best),))
    enough = [one for one in contenders if one.sure.low >= target]
    if enough:
        smallest = min(enough, key=lambda one: (one.num_parameters, -one.score.value))
        return Advice("prompting suffices", smallest.model, smallest.prompt, _enough(smallest, best, target))
    if max(one.score.high for one in contenders) < target:
        chosen, why = _to_tune(contenders, best)
        reasons = (_below(best, target), *_floor(contenders), *why, *_cheaper(best, target, nearest_tried))
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
    sizes = _size(chosen.num_parameters), _size(best.num_parameters)
    reason = Reason(
        f"{chosen.model} is not surely worse than the best, {best.model} ({_points(test.difference.value)} points, "
        f"p = {test.p_value:.2f}), and smaller: {sizes[0]} against {sizes[1]} parameters.",
        f"{chosen.model} 并不明显差于最好的 {best.model}（相差 {_points(test.difference.value)} 个百分点，"
        f"p = {test.p_value:.2f}），而且更小：参数量 {sizes[0]} 对 {sizes[1]}。",
    )
    return chosen, (reason,)


def _best_of(contenders: Sequence[Contender], best: Contender) -> Reason:
    if any(one.num_parameters < best.num_parameters for one in contenders):
        return Reason(
            f"{best.model} has the best baseline of {len(contenders)} models, and every smaller one is surely worse.",
            f"{best.model} 的基线是 {len(contenders)} 个模型中最好的，更小的模型都明显更差。",
        )
    return Reason(
        f"{best.model} has the best baseline of {len(contenders)} models, and none is smaller.",
        f"{best.model} 的基线是 {len(contenders)} 个模型中最好的，且没有更小的模型。",
    )


def _no_target(best: Contender) -> Reason:
    return Reason(
        f"The recipe names no verdict.target, so nothing says whether {best.score} is enough.",
        f"配方没有写明 verdict.target，无从判断 {_zh(best.score)} 是否足够。",
    )


def _enough(chosen: Contender, best: Contender, target: float) -> tuple[Reason, ...]:
    reason = Reason(
        f"{chosen.model} with the {chosen.prompt} prompt reaches {chosen.score}; even the lower "
        f"end{_choice(chosen).en} is not below the target of {target:.1%}.",
        f"{chosen.model} 使用 {chosen.prompt} 提示词达到 {_zh(chosen.score)}，{_choice(chosen).zh}区间下限也不低于目标 "
        f"{target:.1%}。",
    )
    if chosen is best:
        return (reason,)
    smaller = Reason(
        f"{best.model} scores higher ({best.score.value:.1%}) and is larger: {_size(best.num_parameters)} parameters.",
        f"{best.model} 得分更高（{best.score.value:.1%}），但更大：参数量 {_size(best.num_parameters)}。",
    )
    return reason, smaller


def _below(best: Contender, target: float) -> Reason:
    return Reason(
        f"The best prompt, {best.prompt} with {best.model}, reaches {best.score}; even the upper end is below the "
        f"target of {target:.1%}.",
        f"最好的提示词（{best.model}，{best.prompt}）达到 {_zh(best.score)}，区间上限仍低于目标 {target:.1%}。",
    )


def _floor(contenders: Sequence[Contender]) -> tuple[Reason, ...]:
    if len(contenders) == 1 or any(any(one.grades) for one in contenders):
        return ()
    reason = Reason(
        "No model gets a single row right, so the baseline does not tell which of them would learn the task better.",
        "所有模型一条都没有答对，基线无法说明哪个模型更容易学会这个任务。",
    )
    return (reason,)


def _open(best: Contender, target: float, more: int | None) -> Reason:
    if more is None:
        then = Reason("the score is so close to it that no number of rows would tell", "两者太接近，增加数据也难以判定")
    else:
        then = Reason(f"about {more:,} more test rows would decide", f"约需再增加 {more:,} 条测试数据才能判定")
    if best.score.low >= target:  # only the correction puts it inside
        return Reason(
            f"The best prompt, {best.prompt} with {best.model}, reaches {best.score}; the lower end{_choice(best).en} "
            f"is below the target of {target:.1%}; {then.en}.",
            f"最好的提示词（{best.model}，{best.prompt}）达到 {_zh(best.score)}，{_choice(best).zh}区间下限低于目标 "
            f"{target:.1%}；{then.zh}。",
        )
    return Reason(
        f"The best prompt, {best.prompt} with {best.model}, reaches {best.score}. The target of {target:.1%} lies "
        f"inside the interval; {then.en}.",
        f"最好的提示词（{best.model}，{best.prompt}）达到 {_zh(best.score)}，目标 {target:.1%} 在区间之内；{then.zh}。",
    )


def _choice(one: Contender) -> Reason:
    """What the correction for the choice makes of the lower end; nothing when there was no choice."""
    if one.num_tried == 1:
        return Reason("", "")
    low = f"{one.sure.low:.1%}"
    return Reason(
        f", {low} after correcting for the choice among {one.num_tried} prompts,",
        f"在 {one.num_tried} 个提示词中择优、校正后为 {low} 的",
    )


def _cheaper(best: Contender, target: float, nearest_tried: bool) -> tuple[Reason, ...]:
    """What is cheaper than tuning and was not tried."""
    if nearest_tried:
        return _reworded(best, target)
    reason = Reason(
        "Examples most like each question (baseline.selection: nearest) were not tried; they often reach more.",
        "尚未尝试为每个问题选取最相似的示例（baseline.selection: nearest），其效果往往更好。",
    )
    return *_reworded(best, target), reason


def _reworded(best: Contender, target: float) -> tuple[Reason, ...]:
    """A warning when the wording alone keeps the score below the target."""
    reachable = best.score.value + best.num_rewritten / best.score.n
    if best.score.value >= target or reachable < target:
        return ()
    reason = Reason(
        f"{best.num_rewritten:,} wrong answers are right but for their wording; with them the score would be "
        f"{reachable:.1%}. Try a stricter prompt, a constraint or a laxer metric before tuning.",
        f"有 {best.num_rewritten:,} 个错误回答只是表述不同，若计为正确，得分为 {reachable:.1%}。"
        f"微调之前，先试更严格的提示词、受限解码或更宽松的指标。",
    )
    return (reason,)


def _zh(score: Estimate) -> str:
    return f"{score.value:.1%}（95% 区间 {score.low:.1%} 至 {score.high:.1%}，n = {score.n:,}）"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _size(num_parameters: int) -> str:
    return f"{num_parameters / 1e9:.1f} B" if num_parameters >= 1e9 else f"{num_parameters / 1e6:.0f} M"
