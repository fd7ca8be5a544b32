"""What each of several processes takes: counted by hand, and as DistributedDataParallel takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from test_simulation import architecture, forest, peak_of, way
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig
from workbench import weitiao, write_recipe

from weitiao.forest.plan import Plan
from weitiao.models.attention import FOREST
from weitiao.objectives.config import SftConfig
from weitiao.planning.exchange import sent_bytes
from weitiao.planning.forecast import Forecast, forecast
from weitiao.planning.seconds import DataSheet
from weitiao.planning.sketch import Sketch
from weitiao.planning.workload import Workload, workload
from weitiao.rendering.items import TokenSequence, as_items


@pytest.fixture
def group() -> Iterator[None]:
    """A group of one process, by gloo."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1, timeout=timedelta(seconds=30))
    yield
    dist.destroy_process_group()


def plan_of(lengths: list[int], *, budget: int, batch: int) -> Plan:
    rows = [TokenSequence.of(str(i), [i + 1] * n, [0.0] + [1.0] * (n - 1)) for i, n in enumerate(lengths)]
    return Plan(as_items(rows), batch, budget, share_prefixes=True, seed=3)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_step_waits_for_the_largest_forest_of_each_turn(ranks: int) -> None:
    """By going through what `Engine.accumulate` gives each rank."""
    plan = plan_of([9, 31, 14, 50, 22, 7, 41, 33, 18], budget=60, batch=5)
    tokens = targets = turns = 0
    for index in range(plan.steps_per_epoch):
        forests = plan.step(index).forests
        for turn in range(-(-len(forests) // ranks)):
            mine = [forests[at] for rank in range(ranks) if (at := turn * ranks + rank) < len(forests)]
            tokens += max(len(one.layout) for one in mine)
            targets += max((len(one.layout), len(one.targets)) for one in mine)[1]
            turns += 1
    found = workload(plan, plan.steps_per_epoch, num_ranks=ranks)
    steps = plan.steps_per_epoch
    assert (found.rank_tokens, found.rank_targets) == (tokens / steps, targets / steps)
    assert found.num_forests == turns / steps
    assert (
        found.tokens
        == workload(plan, steps).tokens
        == sum(len(item.sequences[0].inputs) for item in plan.items) / steps
    )


@pytest.mark.parametrize("sizes", [[4], [100, 90, 80, 8, 7], [300, 5, 5, 120, 120, 30], [10] * 40])
def test_weights_are_copied_when_they_are_sent_as_pytorch_does_it(sizes: list[int], group: None) -> None:
    tensors = [torch.zeros(1024 * n) for n in sizes] + [torch.zeros(1024 * n, dtype=torch.float16) for n in sizes[:2]]
    piece = 150 * 4096
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        dist._broadcast_coalesced(dist.group.WORLD, tensors, piece, 0)
    assert sent_bytes(tensors, piece) == peak_of(seen)


def test_gradients_are_summed_in_blocks_as_large_as_they_are(group: None) -> None:
    """What DistributedDataParallel adds to the peak of two steps is what the forecast says of the exchange."""

    def peak(wrap: Callable[[nn.Module], nn.Module]) -> int:
        model = AutoModelForCausalLM.from_config(architecture(), attn_implementation=FOREST, dtype=torch.float32)
        objective = SftConfig().build(model)
        optimizer = torch.optim.SGD(objective.parameters(), lr=1e-3)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            wrapped = wrap(objective)
            for _ in range(2):
                wrapped(forest()).total.backward()
                optimizer.step()
                optimizer.zero_grad()
        return peak_of(seen)

    work = replace(workload(plan_of([40] * 4, budget=50, batch=4), 1, num_ranks=2), largest=forest())
    alone, two = (
        {line.name: line.bytes for line in forecasted(replace(work, num_ranks=ranks)).memory} for ranks in (1, 2)
    )
    assert two.pop("exchange") == pytest.approx(peak(DistributedDataParallel) - peak(lambda model: model), rel=0.02)
    assert two == alone


def forecasted(work: Workload) -> Forecast:
    sheet = DataSheet({"float32": 1e12}, 1e11)
    return forecast(architecture(), way("sgd"), work, sheet, program_bytes=1e9)


def test_two_ranks_take_half_the_time_and_that_of_the_exchange() -> None:
    lengths = [40] * 4
    one, two = (workload(plan_of(lengths, budget=50, batch=4), 1, num_ranks=ranks) for ranks in (1, 2))
    sheet = DataSheet({"float32": 1e12}, 1e11, launch_seconds=0)
    seconds = [
        forecast(architecture(), way("sgd"), work, sheet, program_bytes=0, exchange_bytes_per_second=rate).seconds
        for work, rate in ((one, None), (two, None), (two, 1e9))
    ]
    update = 2 * seconds[1] - seconds[0]  # is made by each
    assert 0 < update < 0.2 * seconds[0]
    gradients = 4 * Sketch(architecture(), way("sgd")).num_learned
    assert seconds[2] - seconds[1] == pytest.approx(gradients / 1e9, rel=0.01)


def test_a_plan_for_several_devices_is_that_of_each(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, num_rows=32, train={"batch_size": 32, "token_budget": 150})
    done = weitiao("plan", recipe, "--device", "rtx-4090", "--ranks", "2", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    memory = {line["name"]: line["bytes"] for line in plan["forecast"]["memory"]}
    assert memory["exchange"] >= memory["gradients"] == 4 * plan["forecast"]["num_learned"]
    assert plan["kilowatt_hours"] == pytest.approx(2 * plan["forecast"]["seconds"] * 450 / 3.6e6)
    assert "not measured" in plan["time_source"]["en"]


def test_what_one_process_alone_can_do_is_not_planned_for_several(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, optimizer={"type": "lomo"})
    done = weitiao("plan", recipe, "--ranks", "2")
    assert done.returncode == 2
    assert "one process alone" in done.stderr and "Traceback" not in done.stderr


def test_two_processes_say_what_each_of_them_needs(tiny_llama_dir: Path, tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=400, hidden_size=512, intermediate_size=8192, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tiny_llama_dir).save_pretrained(tmp_path / "model")
    settings = {"max_steps": 2, "token_budget": 100}
    done = weitiao("train", write_recipe(tmp_path, tmp_path / "model", num_rows=8, train=settings), ranks=2)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Forecast: .* GiB of the .* GiB \(for each of 2 processes\) that there are, ", done.stderr)
    assert len(re.findall(r"first step: .*memory so far", done.stderr)) == 1
    memory = json.loads((tmp_path / "run/forecast.json").read_text(encoding="utf-8"))["memory"]
    learned = sum(one.nbytes for one in load_file(tmp_path / "run/final/adapter_model.safetensors").values())
    assert memory["gradients"] == pytest.approx(learned, rel=0.01)
    # The first step takes less than the copies that are sent before it, all in one piece.
    sent = sum(size for name, size in memory.items() if name not in ("the program", "weights"))
    assert sent == pytest.approx(sum(one.nbytes for one in model.parameters()) + learned, rel=0.001)
