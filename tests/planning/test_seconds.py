"""How long operations take: by a data sheet, and measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from weitiao.planning.seconds import DataSheet, Stopwatch, arithmetic_of
from weitiao.planning.trace import Call, Shape, Trace


def shape(*size: int, dtype: torch.dtype = torch.float32) -> Shape:
    return Shape(size, torch.empty(size, device="meta").stride(), dtype)


def product(m: int, k: int, n: int, dtype: torch.dtype = torch.float32) -> Call:
    arguments = (shape(m, k, dtype=dtype), shape(k, n, dtype=dtype))
    return Call(torch.ops.aten.mm.default, arguments, (), (shape(m, n, dtype=dtype),))


def test_a_data_sheet_takes_arithmetic_traffic_or_the_launch() -> None:
    sheet = DataSheet({"float32": 1e12, "bfloat16": 4e12}, 1e11, shares=(0.5, 0.25), launch_seconds=1e-5)
    assert sheet.seconds({product(1000, 1000, 1000): 3}) == pytest.approx(3 * 2e9 / 1e12 / 0.5)
    assert sheet.seconds({product(1000, 1000, 1000, torch.bfloat16): 1}) == pytest.approx(2e9 / 4e12 / 0.5)
    skinny = 4 * (100_000 * 10 + 10 * 1 + 100_000)
    assert sheet.seconds({product(100_000, 10, 1): 1}) == pytest.approx(skinny / 1e11 / 0.25)
    assert sheet.seconds({product(2, 2, 2): 1}) == 1e-5


def test_attention_counts_half_where_it_is_causal() -> None:
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    query, key = shape(1, 4, 100, 32), shape(1, 4, 300, 32)
    full = Call(flash, (query, key, key, 0.0, False), (), (query,))
    causal = Call(flash, (query, key, key, 0.0, True), (), (query,))
    assert arithmetic_of(full) == 2 * 2 * 4 * 100 * 300 * 32 == 2 * arithmetic_of(causal)


def test_a_stopwatch_measures_once_and_remembers(tmp_path: Path) -> None:
    path = tmp_path / "seconds.json"
    call, small = product(512, 512, 512), product(8, 8, 8)
    first = Stopwatch(path, budget_seconds=60)
    assert first.seconds({call: 10}) > 10 * first.seconds({small: 1}) > 0
    spent = first.spent_seconds
    assert first.seconds({call: 10}) == first.seconds({call: 5}) * 2
    assert first.spent_seconds == spent
    again = Stopwatch(path, budget_seconds=0)
    assert again.seconds({call: 10}) == first.seconds({call: 10})
    assert len(json.loads(path.read_text())) == 2


def test_what_was_noted_on_a_busy_machine_is_forgotten_and_what_holds_is_kept(tmp_path: Path) -> None:
    call, other = product(512, 512, 512), product(256, 512, 512)
    true = Stopwatch(None, budget_seconds=60).seconds({call: 1})
    path = tmp_path / "seconds.json"
    for noted, kept in ((true * 100, False), (true / 100, True)):
        path.write_text(json.dumps({str(call): noted, str(other): 123.0}), encoding="utf-8")
        watch = Stopwatch(path, budget_seconds=60)
        assert (watch.seconds({call: 1}) == pytest.approx(noted, abs=2e-5)) is kept
        assert (watch.seconds({other: 1}) > 100) is kept


def test_what_there_is_no_time_to_measure_is_reckoned_from_its_like(tmp_path: Path) -> None:
    watch = Stopwatch(None, budget_seconds=1e-9)
    both = watch.seconds({product(1024, 512, 512): 1, product(512, 512, 512): 1})
    large = watch.seconds({product(1024, 512, 512): 1})
    assert both / large == pytest.approx(1.5, abs=0.05)


def test_a_small_call_says_nothing_of_a_large_one(tmp_path: Path) -> None:
    path, small, large, alike = tmp_path / "seconds.json", product(2, 2, 2), product(1024, 512, 512), batched(1024)
    path.write_text(json.dumps({str(small): 0.001, str(alike): 0.01}), encoding="utf-8")
    seconds = Stopwatch(path, budget_seconds=0).seconds({small: 1, alike: 1, large: 1})
    assert seconds == pytest.approx(0.001 + 2 * 0.01, rel=0.05)


def batched(rows: int) -> Call:
    """The same arithmetic under another name."""
    arguments = (shape(1, rows, 512), shape(1, 512, 512))
    return Call(torch.ops.aten.bmm.default, arguments, (), (shape(1, rows, 512),))


def test_products_in_groups_are_traced_and_measured() -> None:
    """What a mixture of experts computes on a CPU in float32, forward and backward."""
    with FakeTensorMode():
        rows, stack = torch.empty(96, 32, requires_grad=True), torch.empty(4, 32, 48, requires_grad=True)
        ends = torch.empty(4, dtype=torch.int32)
        with Trace() as trace:
            trace.begin("forward")
            out = torch._grouped_mm(rows, stack, offs=ends)
            assert out.shape == (96, 48)
            (out * torch.empty_like(out)).sum().backward()
        assert rows.grad is not None
        assert stack.grad is not None
        assert (rows.grad.shape, stack.grad.shape) == (rows.shape, stack.shape)
    calls = {call: 1.0 for phase in trace.phases.values() for call in phase.calls if "grouped" in call.name}
    assert len(calls) == 3
    assert all(arithmetic_of(call) > 0 for call in calls)
    assert all(Stopwatch(None, budget_seconds=60).seconds({call: 1}) > 1e-5 for call in calls)


@pytest.mark.parametrize("added", [False, True])
def test_products_of_onednn_are_traced_and_measured(added: bool) -> None:
    """They are measured as what runs, not as another library's product of the same size."""
    x, weight, onto = torch.randn(640, 256), torch.randn(512, 256), torch.randn(640, 512)
    linear = torch.ops.mkldnn._linear_pointwise
    with FakeTensorMode() as fake:
        fakes = [fake.from_tensor(one) for one in (x, weight, onto)]
        with Trace() as trace:
            trace.begin("forward")
            if added:
                out = linear.binary(fakes[0], fakes[2], fakes[1], None, "add")
            else:
                out = linear(fakes[0], fakes[1], None, "none", [], "")
    assert out.shape == (640, 512)
    phase = trace.phases["forward"]
    assert [one.live for one in phase.alive] == [out.nbytes]
    (call,) = phase.calls
    assert call.operation in (linear.default, linear.binary)
    assert arithmetic_of(call) == 2 * 640 * 256 * 512
    assert Stopwatch(None, budget_seconds=60).seconds({call: 1}) > 1e-5


def test_a_damaged_file_and_a_place_that_cannot_be_written_cost_measuring_only(tmp_path: Path) -> None:
    damaged = tmp_path / "seconds.json"
    damaged.write_text('{"half', encoding="utf-8")
    for path in (damaged, damaged / "below-a-file" / "seconds.json"):
        assert Stopwatch(path, budget_seconds=60).seconds({product(8, 8, 8): 1}) > 0
