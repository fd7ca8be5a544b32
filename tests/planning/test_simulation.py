"""What a step is said to allocate and to run, against a step that is made."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import accumulate
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoModelForCausalLM,
    GraniteMoeHybridConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3_5TextConfig,
)

from weitiao.forest.layout import Forest, build_forest
from weitiao.methods.config import MethodConfig
from weitiao.models.alone import let_branch
from weitiao.models.attention import FOREST, set_backend
from weitiao.models.parts import decoder
from weitiao.objectives.config import SftConfig
from weitiao.planning.simulation import Simulated, simulate
from weitiao.planning.sketch import Sketch, Way
from weitiao.planning.trace import Shape
from weitiao.rendering.items import TokenSequence, as_items
from weitiao.training.config import TrainConfig
from weitiao.training.optimizer import OptimizerConfig

LAYERS = 5
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "lora": ({"r": 8}, {}, {}),
    "unfused": ({"r": 8, "fused": False}, {}, {}),
    "full": ({"type": "full"}, {}, {}),
    "freeze": ({"type": "freeze", "layers": 2}, {}, {}),
    "sgd": ({"type": "full"}, {"type": "sgd"}, {}),
    "checkpointing": ({"r": 8}, {}, {"checkpointing": True}),
    "lomo": ({"type": "full"}, {"type": "lomo"}, {}),
}

_HYBRID: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1000, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
HYBRIDS: dict[str, PreTrainedConfig] = {
    "linear attention": Qwen3_5TextConfig(
        **_HYBRID, head_dim=32, layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2,
        linear_num_value_heads=4, linear_key_head_dim=32, linear_value_head_dim=32,
    ),
    "mamba": GraniteMoeHybridConfig(
        **_HYBRID, layer_types=["mamba", "attention"], mamba_n_heads=8, mamba_d_head=32, mamba_d_state=32,
        num_local_experts=0, shared_intermediate_size=352,
    ),
}  # fmt: skip


def architecture() -> PreTrainedConfig:
    return LlamaConfig(
        hidden_size=128, intermediate_size=352, num_hidden_layers=LAYERS, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=1000, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip


def way(name: str) -> Way:
    method, optimizer, train = WAYS["lora" if name == "dense" else name]
    return Way(
        TypeAdapter(MethodConfig).validate_python(method), SftConfig(),
        TypeAdapter(OptimizerConfig).validate_python(optimizer), TrainConfig(**train), "float32",
        attention="dense" if name == "dense" else "auto",
    )  # fmt: skip


def forest() -> Forest:
    rows = [[7, 8, 9, *range(10 * i, 10 * i + 60)] for i in range(6)]
    return build_forest(as_items(TokenSequence.of(str(i), row, [0.0] * 5 + [1.0] * 58) for i, row in enumerate(rows)))


def simulated(name: str, *, of: Forest | None = None) -> Simulated:
    return simulate(Sketch(architecture(), way(name)), of or forest(), accumulated=False)


@cache
def simulated_whole(name: str) -> Simulated:
    return simulate(Sketch(architecture(), way(name)), forest(), accumulated=False, whole=True)


def in_all(step: Simulated) -> Counter[Any]:
    calls: Counter[Any] = Counter(step.rest)
    for _, of_layers in step.layers:
        calls.update(of_layers)
    return calls


@pytest.mark.parametrize("name", WAYS)
def test_few_layers_stand_for_all(name: str) -> None:
    short, whole = simulated(name), simulated_whole(name)
    assert short.memory.peak == pytest.approx(whole.memory.peak, rel=0.01)
    assert short.memory.states == whole.memory.states
    by_name: Counter[str] = Counter()
    for call, number in (in_all(whole) - in_all(short)).items():
        by_name[call.name] += number
    assert sum(by_name.values()) <= 0.02 * sum(in_all(whole).values()), by_name


def made(name: str, *, hybrid: PreTrainedConfig | None = None, of: Forest | None = None) -> tuple[int, int]:
    """Peak of a step that is made, by PyTorch's own profiler, and bytes of the optimiser's states."""
    chosen, rows = way(name), of or forest()
    config = hybrid or architecture()
    model = AutoModelForCausalLM.from_config(config, attn_implementation=FOREST, dtype=torch.float32)
    method = chosen.method.build()
    adapted = method.apply(model, seed=0)
    set_backend(adapted, "alone" if hybrid else chosen.attention)
    let_branch(decoder(adapted), copies_state=hybrid is not None)
    if chosen.train.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    objective = chosen.objective.build(adapted).train()
    optimizer = chosen.optimizer.build(method.groups(adapted), adapted, learning_rate=1e-3)
    learned = [one for one in objective.parameters() if one.requires_grad]

    def step() -> None:
        objective(rows).total.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    states = [value for held in optimizer.state.values() for value in held.values() if isinstance(value, torch.Tensor)]
    return peak_of(seen), sum(value.nbytes for value in states)


def peak_of(seen: profile) -> int:
    """The most bytes alive at once of what was allocated meanwhile."""
    assert seen.profiler is not None and seen.profiler.kineto_results is not None
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate((event.nbytes() for event in sorted(events, key=lambda one: one.start_ns())), initial=0))


@pytest.mark.parametrize("name", ["lora", "unfused", "full", "freeze", "checkpointing", "dense"])
def test_peak_and_states_are_those_of_a_step_that_is_made(name: str) -> None:
    step = simulated_whole(name)
    peak, states = made(name)
    assert step.memory.states == pytest.approx(states, rel=0.01)
    assert step.memory.peak - step.memory.states == pytest.approx(peak, rel=0.05)


@pytest.mark.parametrize("name", HYBRIDS)
def test_of_hybrids_every_row_is_a_call_of_its_own(name: str) -> None:
    """Rows that share a beginning: it is run once, and each goes on from a copy of the state."""
    rows = [[7, 8, 9, *range(10 * i, 10 * i + 30)] for i in range(2)]
    few = build_forest(as_items(TokenSequence.of(str(i), row, [0.0] * 5 + [1.0] * 28) for i, row in enumerate(rows)))
    step = simulate(Sketch(HYBRIDS[name], way("lora")), few, accumulated=False, whole=True)
    peak, states = made("lora", hybrid=HYBRIDS[name], of=few)
    assert step.memory.states == pytest.approx(states, rel=0.01)
    assert step.memory.peak - step.memory.states == pytest.approx(peak, rel=0.1)


def test_of_mapped_weights_one_layer_counts() -> None:
    lora, full = (Sketch(architecture(), replace(way(name), map_weights=True)) for name in ("lora", "full"))
    matrices = 4 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 352)
    whole = 4 * lora.num_parameters
    assert lora.weight_bytes == whole - (LAYERS - 1) * matrices
    assert full.weight_bytes == 4 * full.num_parameters


def test_lomo_never_holds_all_gradients() -> None:
    short = build_forest(as_items([TokenSequence.of("", [1, 2, 3], [0.0, 1.0, 1.0])]))  # next to no activations
    plain, lomo = simulated("sgd", of=short).memory, simulated("lomo", of=short).memory
    learned = 4 * Sketch(architecture(), way("lomo")).num_learned
    assert plain.gradients == pytest.approx(learned, rel=0.01)
    assert lomo.gradients == 0
    assert lomo.peak < plain.peak - learned / 2


def test_rounded_weights_are_written_out_in_either_pass() -> None:
    """But for queries, keys and values of the first layer in the backward pass: the embeddings below do not learn."""
    sketch = Sketch(architecture(), replace(way("unfused"), quantization="nf4"))
    calls = in_all(simulate(sketch, forest(), accumulated=False, whole=True))
    written = [number for call, number in calls.items() if call.arguments and _is_int8(call.arguments[0])]
    assert sum(written) == 2 * 7 * LAYERS - 3
    assert sketch.weight_bytes < 0.5 * Sketch(architecture(), way("unfused")).weight_bytes


def _is_int8(argument: Any) -> bool:
    return isinstance(argument, Shape) and argument.dtype == torch.int8
