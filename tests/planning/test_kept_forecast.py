"""Later epochs over frozen layers are forecast as short as what is kept makes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_forecast_of_ranks import plan_of
from test_simulation import architecture, way

from weitiao.methods.freeze import FreezeConfig
from weitiao.planning.forecast import forecast
from weitiao.planning.seconds import DataSheet
from weitiao.planning.sketch import Sketch
from weitiao.planning.workload import workload

TOKENS, HIDDEN = 9 * 50, 128


@pytest.mark.parametrize(("room", "share"), [(0, 0.0), (TOKENS * HIDDEN * 2 / 2**30, 0.5), (4, 1.0)])
def test_as_many_tokens_are_spared_as_there_is_room_for(room: float, share: float) -> None:
    """A token takes 512 bytes; room for half of the tokens spares half of what room for all does."""
    plan = plan_of([51] * 9, budget=200, batch=3)
    sheet = DataSheet({"float32": 1e12}, 1e11)

    def seconds(room: float) -> float:
        frozen = replace(way("freeze"), method=FreezeConfig(type="freeze", layers=2, keep_states=room))
        work = workload(plan, 3 * plan.steps_per_epoch)
        return forecast(architecture(), frozen, work, sheet, program_bytes=0).seconds

    nothing, everything = seconds(0), seconds(4)
    assert everything < 0.9 * nothing
    assert (nothing - seconds(room)) / (nothing - everything) == pytest.approx(share)
    assert Sketch(architecture(), way("freeze")).state_bytes == 4 * HIDDEN
