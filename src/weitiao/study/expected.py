"""What a training is forecast to need: said and kept before it, refused where there is not so much, compared after."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psutil
import torch
from rich.console import Console

from weitiao.errors import Phrase, RecipeError
from weitiao.files import write_json
from weitiao.machine.cgroup import peak_bytes
from weitiao.machine.hardware import Hardware
from weitiao.machine.ranks import exchange_bytes_per_second, from_main, least, num_local_ranks, num_ranks
from weitiao.models.names import resolve_model
from weitiao.planning.devices import Device, find_device
from weitiao.planning.forecast import Forecast
from weitiao.planning.options import ROOM, fitting_budget
from weitiao.recipe import Recipe
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import Tell
from weitiao.study.plan import forecast_here
from weitiao.study.prepared import Prepared
from weitiao.terminal.plan import gib
from weitiao.terminal.progress import TrainingLine
from weitiao.text.wording import Wording, told
from weitiao.training.engine import Engine
from weitiao.training.metrics import read_metrics

LEAST_BYTES = 100 * 2**20
"""Weights that take less are trained without a forecast: it would take as long as the first steps."""

CALIBRATION_SECONDS = 5.0
"""Operations are measured for so long at most; those measured before are remembered."""


def expect(
    prepared: Prepared, hardware: Hardware, device: torch.device, *, asked: Recipe, force: bool, tell: Tell
) -> tuple[Prepared, Forecast | None]:
    """Forecast a training that is about to begin on this machine, for each of its processes.

    Args:
        prepared: The training.
        hardware: This machine.
        device: Of the training.
        asked: The recipe as it was; a token budget that it leaves open is halved until the training fits.
        force: Train also where it does not fit.
        tell: Gets a line about what is expected.

    Returns:
        The training with the token budget that fits; and the forecast, None for a small model and a GPU that the
        catalogue does not have.

    Raises:
        RecipeError: It does not fit.
    """
    if prepared.rewards is not None:
        tell("Not forecast: how long answers become is known when they are written")
        return prepared, None
    folder = resolve_model(prepared.recipe.model)
    gpu = _gpu(hardware) if device.type == "cuda" else None
    known = device.type == "cpu" or gpu is not None
    if not known or sum(file.stat().st_size for file in folder.glob("*.safetensors")) < LEAST_BYTES:
        return prepared, None
    ranks = num_ranks()
    rate = exchange_bytes_per_second(device) if ranks > 1 else None

    def forecast(prepared: Prepared) -> Forecast:
        return from_main(
            lambda: forecast_here(
                prepared,
                gpu,
                calibration_seconds=CALIBRATION_SECONDS,
                num_ranks=ranks,
                exchange_bytes_per_second=rate,
            )
        )

    if gpu is not None:
        room = least(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    else:
        room = least(hardware.available_memory_bytes / num_local_ranks() + psutil.Process().memory_info().rss)
    found = forecast(prepared)
    if found.num_bytes > ROOM * room and asked.train.token_budget == "auto":
        items = (*prepared.data.train, *prepared.data.validation)
        longest = max(item.num_tokens for item in items)
        budget = fitting_budget(found, prepared.plan.token_budget, longest, room)
        if budget is not None:
            prepared = _with_budget(prepared, budget)
            found = forecast(prepared)
    fits = found.num_bytes <= ROOM * room
    if not fits and not force:
        raise RecipeError(
            Phrase(
                "The training is forecast to need {needed} of the {room} that there are.",
                needed=gib(found.num_bytes),
                room=gib(room),
            ),
            "See what fits with `weitiao plan RECIPE`, or train all the same with --force.",
        )
    tell(told(lambda words: _expected(found, room, fits, words)))
    return prepared, found


def _gpu(hardware: Hardware) -> Device | None:
    """This machine's GPU in the catalogue of devices."""
    try:
        return find_device(hardware.gpus[0].name)
    except RecipeError:
        return None


def _with_budget(prepared: Prepared, budget: int) -> Prepared:
    train = prepared.recipe.train.model_copy(update={"token_budget": budget})
    recipe = prepared.recipe.model_copy(update={"train": train})
    return replace(prepared, recipe=recipe, plan=replace(prepared.plan, token_budget=budget))


def _expected(found: Forecast, room: float, fits: bool, words: Wording) -> str:
    values: dict[str, Any] = {"needed": gib(found.num_bytes), "room": gib(room), "seconds": found.seconds_per_step}
    if found.num_ranks > 1:
        values["room"] = words("progress.forecast.each", room=gib(room), number=found.num_ranks)
    key = "progress.forecast" if fits else "progress.forecast.forced"
    return words(key, **values, time=words.duration(found.seconds))


class Comparing(TrainingLine):
    """Shows a training, and says after the first step how right the forecast was.

    Args:
        console: Where to.
        found: The forecast.
        device: Of the training, `cpu` or `cuda`.
    """

    def __init__(self, console: Console, found: Forecast, device: str) -> None:
        super().__init__(console)
        self._found, self._device = found, device
        self._begun: float | None = None

    def start(self, step: int, num_steps: int) -> None:
        self._begun = time.monotonic()
        super().start(step, num_steps)

    def step(self, step: int, loss: float, tokens_per_second: float, by_source: Mapping[str, float]) -> None:
        super().step(step, loss, tokens_per_second, by_source)
        if self._begun is not None:
            seconds, self._begun = time.monotonic() - self._begun, None
            found = self._found
            facts = {"seconds": seconds, "forecast": found.seconds_per_step}
            sizes = {"memory": gib(peak_bytes(self._device)), "all_memory": gib(found.num_bytes)}
            self.message(told(lambda words: words("progress.first", **facts, **sizes)))


def keep_forecast(run: RunDir, found: Forecast, engine: Engine, device: str) -> None:
    """Write forecast and measurement beside each other, for the report. To be called on every rank.

    Args:
        run: Of the training, which has come to its end.
        found: The forecast.
        engine: Of the training; the rank that took most memory counts.
        device: Of the training, `cpu` or `cuda`.
    """
    peak = max(engine.collect([peak_bytes(device)]))
    if not engine.is_main:
        return
    seconds = [line["seconds"] for line in read_metrics(run.metrics_path) if "loss" in line]
    write_json(
        run.forecast_path,
        {
            "memory_bytes": {"forecast": round(found.num_bytes), "measured": peak},
            "seconds_per_step": {"forecast": found.seconds_per_step, "measured": statistics.mean(seconds)},
            "memory": {line.name: round(line.bytes) for line in found.memory},
        },
    )
