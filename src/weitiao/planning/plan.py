"""A plan: the forecast of a training on a device, what it costs, other ways to tune, and advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from weitiao.planning.devices import Price, cost
from weitiao.planning.forecast import Forecast
from weitiao.planning.options import Option, fitting_budget, options, recommended, settings_of
from weitiao.planning.seconds import Clock
from weitiao.planning.sketch import Way
from weitiao.planning.workload import Workload
from weitiao.text.wording import Said, Wording, said


@dataclass(frozen=True, slots=True)
class Where:
    """The device that is planned for.

    Attributes:
        name: For people.
        memory_bytes: What a training may take there.
        program_bytes: What the program itself takes of it.
        watts: Power that it draws.
        clock: Knows how long operations take there.
        source: How it knows.
        kind: `cpu` or `cuda`.
        formats: Number formats that it computes in.
        key: Name of the device in the catalogue; None is this machine.
    """

    name: str
    memory_bytes: float
    program_bytes: float
    watts: float
    clock: Clock
    source: Said
    kind: str
    formats: tuple[str, ...] = ("float32",)
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the training costs at one of the prices."""

    provider: str
    amount: float
    currency: str
    date: str


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What `weitiao plan` tells.

    Attributes:
        model: Its name.
        method, precision: How it is tuned.
        device: Its name.
        limit_bytes: Memory that there is, for each of several processes.
        time_source: Where the times come from.
        data: What is learned from, in a line.
        forecast: Of the recipe as it is.
        fits: Whether it does.
        rule_of_thumb: Bytes by the rule of courses, for all parameters in float32: full tuning five times the weights,
            LoRA little more than once.
        options: Other ways, the recipe's own first.
        recommended: The row of them that is advised; None where nothing fits.
        advice: What to do.
        advised: The settings that it names: dotted names to values, None for a default.
        kilowatt_hours: Energy.
        costs: At the prices that apply.
    """

    model: str
    method: str
    precision: str
    device: str
    limit_bytes: float
    time_source: Said
    data: Said
    forecast: Forecast
    fits: bool
    rule_of_thumb: dict[str, float]
    options: tuple[Option, ...]
    recommended: int | None
    advice: Said
    advised: dict[str, Any]
    kilowatt_hours: float
    costs: tuple[Cost, ...]


def make_plan(
    model: str,
    architecture: PreTrainedConfig,
    way: Way,
    work: Workload,
    where: Where,
    *,
    data: Said,
    longest: int,
    prices: tuple[Price, ...],
) -> PlanReport:
    """Plan a training.

    Args:
        model: Its name, for people.
        architecture: The model's configuration.
        way: How it is tuned.
        work: What the data ask.
        where: The device.
        data: What is learned from, in a line.
        longest: Tokens of the longest item.
        prices: Of devices and of electricity; those of this device are used.

    Raises:
        ModelError: The method does not fit the model.
    """
    found = options(
        architecture,
        way,
        work,
        where.clock,
        formats=where.formats,
        program_bytes=where.program_bytes,
        longest=longest,
    )
    rows = tuple(found)
    budget = way.train.token_budget
    assert isinstance(budget, int)
    own, best = rows[0], recommended(rows, where.memory_bytes)
    weights = 4.0 * own.forecast.num_parameters
    hours = own.forecast.seconds / 3600 * (work.num_ranks if where.kind == "cuda" else 1)  # of all devices
    advice, advised = _advice(own, best, budget, longest, where.memory_bytes)
    return PlanReport(
        model=model,
        method=own.method,
        precision=own.precision,
        device=where.name,
        limit_bytes=where.memory_bytes,
        time_source=where.source if work.num_ranks == 1 else said(lambda words: _without_exchange(where, words)),
        data=data,
        forecast=own.forecast,
        fits=own.fits(where.memory_bytes),
        rule_of_thumb={"full": 5 * weights, "lora": weights},
        options=rows,
        recommended=None if best is None else rows.index(best),
        advice=advice,
        advised=advised,
        kilowatt_hours=hours * where.watts / 1000,
        costs=tuple(
            Cost(price.provider, cost(3600 * hours, price, where.watts), price.currency, str(price.date))
            for price in prices
            if price.per_kwh is not None or price.device == where.key
        ),
    )


def _without_exchange(where: Where, words: Wording) -> str:
    return words("plan.time.ranks", source=where.source[words.language])


def _advice(
    own: Option, best: Option | None, budget: int, longest: int, limit_bytes: float
) -> tuple[Said, dict[str, Any]]:
    """What to do, in words and in settings."""
    if best is own:
        return said(lambda words: words("plan.advice.fits")), {}
    if size := fitting_budget(own.forecast, budget, longest, limit_bytes):
        return said(lambda words: words("plan.advice.budget", size=size)), {"train.token_budget": size}
    if best is not None:
        key, method = "rounded" if best.precision == "nf4" else "method", best.method
        return said(lambda words: words(f"plan.advice.{key}", method=method)), settings_of(best, own)
    return said(lambda words: words("plan.advice.nothing")), {}
