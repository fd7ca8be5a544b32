"""Products in a short format beside float32 weights: how near gradients are to float32, and the scaled loss."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from reference import build, forest_rows, gradient, loss_and_gradient
from rich.console import Console
from torch import nn
from workbench import final_weights, steps_of, write_recipe

from weitiao.errors import RecipeError
from weitiao.forest.plan import Step, pack
from weitiao.machine.products import FORMATS, product_speeds
from weitiao.models.attention import FOREST
from weitiao.objectives.sft import Sft
from weitiao.recipe import load_recipe
from weitiao.rendering.items import as_items
from weitiao.study.train import train
from weitiao.training.engine import Engine
from weitiao.training.precision import Precision

CPU = torch.device("cpu")
QUIET = Console(quiet=True)
STEP = Step(pack(as_items(forest_rows()), token_budget=999, share_prefixes=True))
WEIGHT = sum(row.weight for row in forest_rows())


def engine(model: nn.Module, name: Any) -> Engine:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    return Engine(Accelerator(cpu=True), Sft(model), optimizer, Precision(name, CPU))


@pytest.mark.parametrize(("name", "near"), [("bfloat16", 0.04), ("float16", 0.005)])
@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_losses_and_gradients_are_those_of_float32_but_for_rounding(family: str, name: str, near: float) -> None:
    expected, slopes = loss_and_gradient(build(family, "eager"), forest_rows())
    slopes /= WEIGHT
    model = build(family, FOREST)
    mine = engine(model, name)
    mine.begin_step(1e-3)
    (_, losses) = mine.accumulate(STEP, WEIGHT, lambda index: 0)[0]
    norm = mine.finish(None)  # takes the scale out
    assert float(losses.total) == pytest.approx(expected, rel=near / 10)
    assert float(losses.total) != pytest.approx(expected, rel=1e-7)
    assert float((gradient(model) - slopes).norm() / slopes.norm()) < near
    assert norm == pytest.approx(float(slopes.norm()), rel=near)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_a_gradient_that_overflows_halves_the_scale_and_makes_no_step() -> None:
    model = build("llama", FOREST)
    mine = engine(model, "float16")
    hook = model.model.norm.weight.register_hook(lambda slope: slope * torch.inf)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def one_step() -> float:
        mine.begin_step(1e-3)
        mine.accumulate(STEP, WEIGHT, lambda index: 0)
        norm = mine.finish(1.0)
        mine.update()
        return norm

    assert not torch.isfinite(torch.tensor(one_step()))
    assert mine.precision.may_overflow
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    weights, moments = copy.deepcopy(mine.gather())
    hook.remove()
    assert one_step() > 0
    assert not torch.equal(model.lm_head.weight, before["lm_head.weight"])
    scale = {name: float(value) for name, value in moments.items() if name.endswith("scale")}
    assert list(scale.values()) == [2.0**15]

    after = {name: p.detach().clone() for name, p in model.named_parameters()}
    again = engine(build("llama", FOREST), "float16")
    again.restore(weights, dict(moments))
    again.begin_step(1e-3)
    again.accumulate(STEP, WEIGHT, lambda index: 0)
    again.finish(1.0)
    again.update()
    assert all(torch.equal(p, after[name]) for name, p in again.objective.model.named_parameters())


@pytest.fixture
def speeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the figures of this machine are kept, in a cache directory of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    product_speeds()
    return tmp_path / "cache" / "weitiao" / "products.json"


def note(path: Path, **figures: float) -> None:
    """Let this machine have been measured so."""
    path.write_text(json.dumps({key: {**old, **figures} for key, old in json.loads(path.read_text()).items()}))


def test_a_slow_format_is_refused_with_the_figures_and_a_fast_one_learns(
    speeds: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    settings = {"max_steps": 4, "seed": 7, "save_every": 2, "validate_every": 2}
    path = write_recipe(tmp_path, tiny_llama_dir, train=settings, data={"validation": 0.2})
    plain = steps_of(train(load_recipe(path), console=QUIET).path)
    chosen = ["train.precision=bfloat16", f"run_dir={tmp_path / 'short'}"]
    note(speeds, float32=80.0, bfloat16=2.5)
    with pytest.raises(RecipeError, match=r"bfloat16 run at 2\.5 GFLOP/s on this CPU, in float32 at 80\.0"):
        train(load_recipe(path, chosen), console=QUIET)
    note(speeds, float32=80.0, bfloat16=160.0)
    run = train(load_recipe(path, chosen), console=QUIET).path
    losses = [line["loss"] for line in steps_of(run)]
    assert losses == pytest.approx([line["loss"] for line in plain], rel=0.01)
    assert losses != [line["loss"] for line in plain]
    whole = final_weights(run)
    for place in (run / "final", run / "checkpoints" / "step-00000004"):
        place.rename(place.with_name(f"old-{place.name}"))
    train(load_recipe(run), console=QUIET)
    assert final_weights(run) == whole


def test_what_cannot_be_computed_in_is_refused(speeds: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny_llama_dir)
    for settings, reason in (
        (["train.precision=float16"], "float16 cannot be used on a CPU"),
        (["train.precision=bfloat16", "model.dtype=bfloat16"], "beside weights in float32"),
    ):
        with pytest.raises(RecipeError, match=reason):
            train(load_recipe(path, settings), console=QUIET)


def test_products_are_measured_once_for_each_machine(speeds: Path) -> None:
    first = product_speeds()
    assert list(first) == list(FORMATS)
    assert all(figure > 0 for figure in first.values())
    note(speeds, bfloat16=first["bfloat16"] + 1)
    assert product_speeds()["bfloat16"] == first["bfloat16"] + 1
    speeds.write_text("{half")
    assert product_speeds()["bfloat16"] != first["bfloat16"] + 1
    assert json.loads(speeds.read_text())
