"""Fused layers: the function of the original ones, and the original ones wherever they cannot stand in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from reference import build, forest_rows, gradient, loss_and_gradient, sequence_loss_sum
from torch import nn

from weitiao.errors import ModelError
from weitiao.forest.layout import build_forest
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import Completion, generate, probe_answers
from weitiao.machine.hardware import detect_hardware
from weitiao.methods.answering import answer, answering
from weitiao.methods.fused.layer import FusedLayer, fuse_layers
from weitiao.models.attention import FOREST
from weitiao.models.packed import PackedLinear
from weitiao.objectives.sft import Sft
from weitiao.rendering.items import TokenSequence, as_items

SOME = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
ALL = [*SOME, "k_proj", "gate_proj"]


def adapted(family: str, attention: str, targets: list[str], *, std: float = 0.2, **settings: object) -> PeftModel:
    model = get_peft_model(
        build(family, attention),
        LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=12, target_modules=targets, **settings),
    )
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=std)
    return model


def with_gains(model: PeftModel) -> PeftModel:
    """The same with norms whose gains differ, which those of a new model do not."""
    torch.manual_seed(4)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def runs_noted(model: PeftModel, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Notes for every fused layer that runs whether it ran fused."""
    notes: list[bool] = []
    forward = FusedLayer.forward

    def noting(self: FusedLayer, *args: Any, **kwargs: Any) -> Any:
        unfused: list[nn.Module] = []
        handle = self.original.register_forward_pre_hook(lambda layer, _: unfused.append(layer))
        try:
            return forward(self, *args, **kwargs)
        finally:
            handle.remove()
            notes.append(not unfused)

    monkeypatch.setattr(FusedLayer, "forward", noting)
    return notes


PLAIN = ["llama", "mistral", "qwen2"]
DENSE = [*PLAIN, "qwen3", "olmo2", "olmo3", "gemma", "gemma3"]
MIXTURES = ["mixtral", "qwen2_moe", "qwen3_moe"]


@pytest.mark.parametrize(
    ("family", "targets"),
    [
        *(pytest.param(family, SOME, id=f"{family}, some") for family in DENSE),
        *(pytest.param(family, ALL, id=f"{family}, all") for family in DENSE),
        *(pytest.param(family, SOME[:3], id=f"{family}, attention") for family in MIXTURES),
    ],
)
def test_fused_layers_give_pefts_loss_and_gradient(
    family: str, targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = forest_rows()
    expected_loss, expected_gradient = loss_and_gradient(with_gains(adapted(family, "eager", targets)), rows)
    model = with_gains(adapted(family, FOREST, targets))
    assert fuse_layers(model) == 2
    notes = runs_noted(model, monkeypatch)
    model.train()
    loss = Sft(model)(build_forest(as_items(rows))).total
    loss.backward()
    assert notes == [True, True]
    assert loss.item() == pytest.approx(expected_loss, rel=1e-6)
    assert (gradient(model) - expected_gradient).norm() / expected_gradient.norm() < 1e-5


def rounded_base(model: PeftModel) -> PeftModel:
    """The same with frozen weights as bfloat16 keeps them; what learns stays in float32."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    return model


def error(model: PeftModel, expected: torch.Tensor) -> float:
    return ((gradient(model) - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("family", "std"),
    [*((family, 0.2) for family in PLAIN), *((family, 0.05) for family in DENSE[3:]), *((f, 1e-3) for f in DENSE)],
)
def test_in_bfloat16_fused_layers_are_as_near_to_float32_as_peft_is(
    family: str, std: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small adapters change `W + s B A` by less than bfloat16 keeps of W."""
    rows = forest_rows()
    models = [adapted(family, attention, ALL, std=std) for attention in ("eager", "eager", FOREST)]
    exact, plain, fused = models[0], rounded_base(models[1]), rounded_base(models[2])
    for given, rounded in zip(exact.parameters(), plain.parameters(), strict=True):
        given.data.copy_(rounded.data)
    expected_loss, expected = loss_and_gradient(exact, rows)
    loss_and_gradient(plain, rows)
    assert fuse_layers(fused) == 2
    notes = runs_noted(fused, monkeypatch)
    loss = Sft(fused.train())(build_forest(as_items(rows))).total
    loss.backward()
    assert notes == [True, True]
    assert loss.item() == pytest.approx(expected_loss, rel=2e-3)
    assert error(fused, expected) < 1.4 * error(plain, expected)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in fused.parameters() if p.requires_grad)


def test_a_long_forest_crosses_all_block_borders() -> None:
    """More tokens than the MLP takes at once, sequences longer than a causal block of the backward pass."""

    torch.manual_seed(5)
    stem = torch.randint(120, (210,)).tolist()
    rows = [
        TokenSequence.of(str(i), tuple(stem + torch.randint(120, (300,)).tolist()), (0.0,) + (1.0,) * 509)
        for i in range(4)
    ]
    expected_loss, expected_gradient = loss_and_gradient(adapted("llama", "eager", ALL), rows)
    model = adapted("llama", FOREST, ALL)
    fuse_layers(model)
    forest = build_forest(as_items(rows))
    assert len(forest.layout) == 210 + 4 * 299
    loss = Sft(model)(forest).total
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss, rel=1e-6)
    assert (gradient(model) - expected_gradient).norm() / expected_gradient.norm() < 1e-5


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {"use_dora": True}),
        ("llama", {"bias": "all"}),
        ("llama", {"use_rslora": True}),
        ("qwen2", {"bias": "all"}),
    ],
    ids=["dora", "bias without biases", "rslora", "bias"],
)
def test_variants_of_lora_give_pefts_gradient(family: str, settings: dict[str, object]) -> None:
    rows = forest_rows()
    expected_loss, expected_gradient = loss_and_gradient(adapted(family, "eager", ALL, **settings), rows)
    model = adapted(family, FOREST, ALL, **settings)
    fuse_layers(model)
    loss = Sft(model)(build_forest(as_items(rows))).total
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss, rel=1e-6)
    assert (gradient(model) - expected_gradient).norm() / expected_gradient.norm() < 1e-5


def test_dropout_runs_the_original_layer_in_training_and_the_fused_one_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted("llama", FOREST, ALL, lora_dropout=0.5)
    fuse_layers(model)
    notes = runs_noted(model, monkeypatch)
    forest = build_forest(as_items(forest_rows()))
    model.train()
    first, second = (Sft(model)(forest).total.item() for _ in range(2))
    assert notes == [False] * 4
    assert first != second
    model.eval()
    assert Sft(model)(forest).total.item() == Sft(model)(forest).total.item()
    assert notes[4:] == [True] * 4


def test_dropout_with_sharing_has_the_right_expectation() -> None:
    """The mean loss over many dropout masks does not depend on whether beginnings are shared."""
    model = adapted("llama", FOREST, ALL, lora_dropout=0.3).train()
    rows = forest_rows()
    means, errors = [], []
    for share in (True, False):
        forest = build_forest(as_items(rows), share_prefixes=share)
        torch.manual_seed(0)
        with torch.no_grad():
            losses = torch.stack([Sft(model)(forest).total for _ in range(150)])
        means.append(losses.mean())
        errors.append(losses.std() / 150**0.5)
    assert abs(means[0] - means[1]) < 4 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5


def test_a_window_that_hides_something_runs_the_original_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = forest_rows()
    expected_loss, _ = loss_and_gradient(adapted("mistral-window", "eager", ALL), rows)
    model = adapted("mistral-window", FOREST, ALL)
    fuse_layers(model)
    notes = runs_noted(model, monkeypatch)
    assert Sft(model)(build_forest(as_items(rows))).total.item() == pytest.approx(expected_loss, rel=1e-6)
    assert notes == [False, False]


def test_names_of_weights_stay_and_plain_peft_loads_them(tmp_path) -> None:  # type: ignore[no-untyped-def]
    plain, fused = adapted("llama", "eager", ALL), adapted("llama", FOREST, ALL)
    fuse_layers(fused)
    assert list(fused.state_dict()) == list(plain.state_dict())
    fused.save_pretrained(tmp_path)
    reloaded = PeftModel.from_pretrained(build("llama", "eager"), tmp_path)
    ids = torch.arange(20).unsqueeze(0)
    assert torch.equal(reloaded(input_ids=ids).logits, plain.eval()(input_ids=ids).logits)


def test_other_families_are_left_as_they_are() -> None:
    for family in ("gemma2", "gpt_neox", "gpt_oss"):
        assert fuse_layers(build(family, FOREST)) == 0


@pytest.mark.parametrize("before", [True, False], ids=["switched on before", "switched on later"])
def test_gradient_checkpointing_is_honoured(before: bool) -> None:
    """The same gradient, and no more than one layer's intermediate results alive at once."""
    rows, kept, gradients = forest_rows(), {}, {}
    for checkpointing in (False, True):
        model = adapted("llama", FOREST, ALL)
        if checkpointing and before:
            model.gradient_checkpointing_enable()
        assert fuse_layers(model) == 2
        if checkpointing and not before:
            model.gradient_checkpointing_enable()
        model.train()
        sizes: list[int] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = Sft(model)(build_forest(as_items(rows))).total
        kept[checkpointing] = sum(sizes)
        loss.backward()
        gradients[checkpointing] = gradient(model)
    assert kept[True] < kept[False] / 2
    torch.testing.assert_close(gradients[True], gradients[False])


def test_the_dropout_of_attention_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted("llama", FOREST, ALL)
    fuse_layers(model)
    notes = runs_noted(model, monkeypatch)
    for layer in model.get_base_model().model.layers:
        layer.self_attn.attention_dropout = 0.1
    with pytest.raises(ModelError, match=r"attention_dropout=0\.1"):
        Sft(model.train())(build_forest(as_items(forest_rows())))
    Sft(model.eval())(build_forest(as_items(forest_rows())))
    assert notes == [False, True, True]


def test_a_part_that_was_wrapped_is_not_read_behind_its_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT's copy of a norm that was saved with an adapter is the one that counts, not the frozen original."""
    rows, losses = forest_rows(), []
    for attention in ("eager", FOREST):
        model = adapted("llama", attention, ["q_proj"], modules_to_save=["post_attention_layernorm"])
        for name, parameter in model.named_parameters():
            if "post_attention_layernorm.modules_to_save" in name:
                torch.nn.init.normal_(parameter)
        model.requires_grad_(False)
        if attention == FOREST:
            fuse_layers(model)
            losses.append(Sft(model)(build_forest(as_items(rows))).total.item())
        else:
            losses.append(sum(sequence_loss_sum(model, row).item() for row in rows))
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.parametrize("family", ["llama", "mistral-window", "qwen2", "qwen3", "olmo2", "gemma3", "mixtral"])
def test_answering_gives_the_same_and_leaves_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of fused layers with packed weights, adapters in them, against PEFT's own layers."""
    prompts = [[5, 6, 7, 8, 9, 10] * 4, [5, 6, 7, 8, 9, 11] * 3, [5, 6, 41]]
    config = GenerationConfig(max_new_tokens=20, batch_size=2)

    def answers(model: PeftModel) -> list[Completion]:
        return generate(model, prompts, config, stop_ids=frozenset(), logprobs=True)

    targets = [*SOME[:3], "k_proj"] if family == "mixtral" else ALL
    expected = answers(adapted(family, FOREST, targets))
    model = adapted(family, FOREST, targets)
    fuse_layers(model)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    assert answer(model, prompts, config, stop_ids=frozenset()) == expected
    with pytest.raises(KeyboardInterrupt), answering(model):
        notes = runs_noted(model, monkeypatch)
        found = answers(model)
        assert not any(isinstance(one, nn.Linear | BaseTunerLayer) for one in model.modules())
        assert sum(isinstance(one, PackedLinear) for one in model.modules()) == 2 * len(targets) + 1
        raise KeyboardInterrupt
    assert all(notes)
    assert found == expected
    for one, other in zip(found, expected, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    assert model.state_dict().keys() == before.keys()
    assert all(one.equal(before[name]) for name, one in model.state_dict().items())
    assert answers(model) == expected
    loss = Sft(model)(build_forest(as_items(forest_rows()))).total
    loss.backward()
    expected_loss, expected_gradient = loss_and_gradient(adapted(family, "eager", targets), forest_rows())
    assert loss.item() == pytest.approx(expected_loss, rel=1e-6)
    assert (gradient(model) - expected_gradient).norm() / expected_gradient.norm() < 1e-5


def test_fused_layers_write_with_adapters_that_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, config = [[5, 6, 7, 8, 9, 10] * 4, [5, 6, 41]], GenerationConfig(max_new_tokens=12)
    expected = generate(adapted("llama", FOREST, SOME), prompts, config, stop_ids=frozenset())
    model = adapted("llama", FOREST, SOME)
    fuse_layers(model)
    probe_answers(model, prompts, config)
    notes = runs_noted(model, monkeypatch)
    assert generate(model, prompts, config, stop_ids=frozenset()) == expected
    assert all(notes)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}], ids=min)
def test_what_cannot_be_merged_answers_as_it_is(settings: dict[str, Any]) -> None:
    prompts, config = [[5, 6, 7, 8, 9, 10] * 4, [5, 6, 41]], GenerationConfig(max_new_tokens=12)
    model = adapted("llama", FOREST, ["q_proj", "down_proj"], **settings)
    expected = generate(model, prompts, config, stop_ids=frozenset())
    assert answer(model, prompts, config, stop_ids=frozenset()) == expected


def test_a_head_that_the_embedding_shares_has_an_adapter_of_its_own() -> None:
    model = adapted("llama", "eager", [*ALL, "lm_head"], ensure_weight_tying=False)
    causal = model.get_base_model()
    causal.get_input_embeddings().weight = causal.get_output_embeddings().weight
    ids = torch.arange(5).unsqueeze(0)
    with torch.no_grad():
        expected = model(ids).logits
        with answering(model):
            torch.testing.assert_close(model(ids).logits, expected, atol=1e-4, rtol=1e-4)


def test_a_model_that_is_large_for_the_machine_answers_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama", FOREST)
    size = sum(one.nbytes for one in model.parameters())
    for memory, packs in ((4 * size, True), (4 * size - 4, False)):
        here = replace(detect_hardware(), memory_bytes=memory)
        monkeypatch.setattr("weitiao.methods.answering.detect_hardware", lambda here=here: here)
        with answering(model):
            assert any(isinstance(one, PackedLinear) for one in model.modules()) == packs
