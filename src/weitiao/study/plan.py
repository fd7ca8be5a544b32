"""`weitiao plan`: what a training needs, before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import psutil
import torch
from ruamel.yaml.comments import CommentedMap
from transformers import PreTrainedConfig

from weitiao.errors import ModelError, RecipeError, WeitiaoError
from weitiao.forest.plan import Plan
from weitiao.machine.hardware import detect_hardware
from weitiao.models.config import ModelConfig
from weitiao.models.load import dtype_of, load_config
from weitiao.models.names import local_path
from weitiao.planning.devices import Device, find_architecture, find_device, read_prices
from weitiao.planning.forecast import Forecast, forecast
from weitiao.planning.plan import PlanReport, Where, make_plan
from weitiao.planning.seconds import DataSheet, stopwatch_here
from weitiao.planning.sketch import Way, size_of
from weitiao.planning.workload import Workload, invented_items, workload
from weitiao.recipe import Recipe, recipe_from_dict
from weitiao.recipe.overrides import apply_overrides
from weitiao.study.dataset import Tell
from weitiao.study.export import check_formats, formats_of
from weitiao.study.prepared import AUTO_TOKEN_BUDGET, Prepared, choose_precision, in_format, prepare, with_checkpointing
from weitiao.study.setup import set_threads
from weitiao.study.teacher import teacher_beside
from weitiao.text.wording import said
from weitiao.training.schedule import total_steps

CALIBRATION_SECONDS = 20.0
"""Operations are measured here for so long at most; what was measured is remembered."""

GPU_PROGRAM_BYTES = 0.7 * 2**30
"""Of a program on a GPU: its context and the libraries' own memory. Assumed."""

CPU_WATTS = 45.0
"""Power of a laptop's processor at work. Assumed, where the device is this machine."""


def plan_recipe(
    recipe: Recipe, *, device: str | None, prices: Path | None, tell: Tell, num_ranks: int = 1
) -> PlanReport:
    """Plan the training of a recipe with its own data.

    Args:
        recipe: Of the training.
        device: A name of the catalogue of devices; None is this machine.
        prices: A table of prices; the person's own, or the examples, by default.
        tell: Gets every line that a person should see.
        num_ranks: Processes that train together, on such a device each; on this machine they share it.

    Raises:
        WeitiaoError: Model, data or device cannot be used.
    """
    if recipe.objective.writes:
        raise RecipeError(
            f"objective.type={recipe.objective.type} is not forecast: how long answers become is known when they are "
            "written.",
            "Plan a supervised training of answers of that length: objective=sft; writing them takes about as long.",
        )
    try:
        check_formats(formats_of(recipe, recipe.export.formats), recipe.model)
    except WeitiaoError as error:
        tell(f"It cannot be exported as export.formats says: {error.what} {error.remedy}")
    where = _where(recipe, device, num_ranks)
    prepared = prepare(recipe, torch.device(where.kind), tell)
    work = work_of(prepared, num_ranks)
    num_rows = len(prepared.data.train)
    longest = max(item.num_tokens for item in prepared.data.train)
    return make_plan(
        recipe.model.name,
        load_config(recipe.model),
        way_of(prepared.recipe, where.kind, where.formats),
        work,
        where,
        data=said(lambda words: words("plan.rows", rows=num_rows, steps=work.num_steps)),
        longest=longest,
        prices=read_prices(prices),
    )


def recipe_of_model(name: str, overrides: Sequence[str]) -> Recipe:
    """A recipe for a model that need not be there, with settings as on the command line and no data yet.

    Raises:
        RecipeError: A setting cannot be used.
    """
    values = CommentedMap(model=CommentedMap(name=name), data=CommentedMap(train="no/data"))
    apply_overrides(values, overrides)
    return recipe_from_dict(values)


def plan_model(
    recipe: Recipe, *, rows: int, tokens: int, device: str | None, prices: Path | None, num_ranks: int = 1
) -> PlanReport:
    """Plan a training of a model of the catalogue on rows of one length; neither model nor data are needed.

    Args:
        recipe: Its model is looked up in the catalogue of architectures first; its data are not read.
        rows: How many rows there are to be.
        tokens: Tokens of each, half of them learned.
        device, prices, num_ranks: As for `plan_recipe`.

    Raises:
        WeitiaoError: Model or device are not known.
    """
    where = _where(recipe, device, num_ranks)
    recipe = with_checkpointing(recipe, where.kind, lambda line: None)
    architecture = _architecture(recipe.model)
    asked = recipe.train.token_budget
    budget = asked if isinstance(asked, int) else max(AUTO_TOKEN_BUDGET[where.kind], tokens)
    train = recipe.train.model_copy(update={"token_budget": budget, "weigh": "tokens"})
    plan = Plan(
        invented_items(rows, tokens, recipe.objective), train.batch_size, budget, train.share_prefixes, train.seed
    )
    num_steps = total_steps(train, plan.steps_per_epoch)
    work = workload(plan, num_steps, num_ranks=num_ranks)
    way = way_of(recipe.model_copy(update={"train": train}), where.kind, where.formats)
    return make_plan(
        recipe.model.name,
        architecture,
        way,
        work,
        where,
        data=said(lambda words: words("plan.rows.assumed", rows=rows, tokens=tokens, steps=num_steps)),
        longest=tokens,
        prices=read_prices(prices),
    )


def _architecture(config: ModelConfig) -> PreTrainedConfig:
    if local_path(config.name) is not None:
        return load_config(config)
    try:
        return find_architecture(config.name)
    except ModelError:
        if "/" not in config.name:
            raise
        return load_config(config)  # a hub id: its configuration alone is fetched


def work_of(prepared: Prepared, num_ranks: int = 1) -> Workload:
    """What the data of a training ask of each of so many processes."""
    every = prepared.recipe.train.validate_every
    period = prepared.plan.steps_per_epoch if every == "epoch" else int(every)
    return workload(
        prepared.plan,
        prepared.num_steps,
        validation=prepared.data.validation,
        num_validations=-(-prepared.num_steps // period),
        num_ranks=num_ranks,
    )


def way_of(recipe: Recipe, kind: str, formats: Collection[str] = ("bfloat16",)) -> Way:
    """How a recipe tunes its model.

    Args:
        recipe: Of the training.
        kind: Of the device, `cpu` or `cuda`.
        formats: Number formats that a GPU computes in.
    """
    config = in_format(recipe.model, recipe.method.build())
    best: Literal["bfloat16", "float32"] = "bfloat16" if kind == "cuda" and "bfloat16" in formats else "float32"
    teacher = 0, 0.0
    if (beside := teacher_beside(recipe.objective)) is not None:
        teacher = size_of(_architecture(beside), _dtype(beside, kind, best), beside.quantization)
    settings = recipe.train
    if settings.precision == "auto":
        settings = settings.model_copy(update={"precision": choose_precision(recipe, best)})
    parts = recipe.method, recipe.objective, recipe.optimizer, settings
    dtype = _dtype(config, kind, best)
    return Way(*parts, dtype, config.quantization, kind, config.map_weights, config.attention, teacher)


def _dtype(config: ModelConfig, kind: str, best: str) -> str:
    """The number format of a model on a kind of device that computes best in one."""
    return best if kind == "cuda" and config.dtype == "auto" else dtype_of(config, device=kind)


def forecast_here(
    prepared: Prepared,
    device: Device | None = None,
    *,
    calibration_seconds: float,
    num_ranks: int = 1,
    exchange_bytes_per_second: float | None = None,
) -> Forecast:
    """The forecast of a training that is about to begin in this process.

    Args:
        prepared: The training.
        device: This machine's GPU; None is the CPU. What the program takes of a GPU beside its tensors is there
            already, and does not count.
        calibration_seconds: How long operations of the CPU may be measured.
        num_ranks: Processes that train together; the forecast is that of each.
        exchange_bytes_per_second: As for `forecast`.
    """
    resident = float(psutil.Process().memory_info().rss) if device is None else 0.0  # before operations are measured
    clock = stopwatch_here(budget_seconds=calibration_seconds) if device is None else _clock(device)
    way, work = way_of(prepared.recipe, "cpu" if device is None else "cuda"), work_of(prepared, num_ranks)
    return forecast(
        load_config(prepared.recipe.model),
        way,
        work,
        clock,
        program_bytes=resident,
        exchange_bytes_per_second=exchange_bytes_per_second,
    )


def _where(recipe: Recipe, device: str | None, num_ranks: int) -> Where:
    hardware = detect_hardware()
    set_threads(recipe, hardware, num_processes=num_ranks)
    if device is None and hardware.gpus:
        device = hardware.gpus[0].name
    if device is not None:
        return _on(find_device(device))
    resident = float(psutil.Process().memory_info().rss)
    return Where(
        name=f"{hardware.cpu_name}, {torch.get_num_threads()} threads",
        memory_bytes=(hardware.available_memory_bytes + resident) / num_ranks,
        program_bytes=resident,
        watts=CPU_WATTS,
        clock=stopwatch_here(budget_seconds=CALIBRATION_SECONDS),
        source=said(lambda words: words("plan.time.measured")),
        kind="cpu",
    )


def _on(device: Device) -> Where:
    return Where(
        name=device.title,
        memory_bytes=device.memory_bytes,
        program_bytes=GPU_PROGRAM_BYTES,
        watts=device.watts,
        clock=_clock(device),
        source=said(lambda words: words("plan.time.data_sheet")),
        kind="cuda",
        formats=tuple(device.flops),
        key=device.key,
    )


def _clock(device: Device) -> DataSheet:
    return DataSheet(device.flops, device.bytes_per_second)
