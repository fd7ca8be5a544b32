"""The backends of attention: FlashAttention's arguments against the dense mask, which backend is chosen, and why."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from workbench import steps_of, write_recipe

from weitiao.errors import ModelError
from weitiao.forest.plan import Plan, pack
from weitiao.models import attention_flash
from weitiao.models.attention import ForestAttention
from weitiao.models.attention_choice import Call, choose, describe_choice
from weitiao.models.scoring import Scoring
from weitiao.recipe import load_recipe
from weitiao.rendering.items import TokenSequence, as_items
from weitiao.study.train import train

CPU = torch.device("cpu")
QUIET = Console(quiet=True)
UNSHARED = "train.share_prefixes=false"


class _Watched(torch.autograd.Function):
    """Passes a tensor on, and notes in its backward pass whether PyTorch is told to repeat itself."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, noted: list[bool]) -> Tensor:
        ctx.noted = noted
        return out.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.noted.append(torch.are_deterministic_algorithms_enabled())
        return grads[0], None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """PyTorch's kernel, which is for CUDA alone, as it is documented: each sequence by itself, in float64.

    Returns:
        For each backward pass, whether it was told to give the same bits each time.
    """
    noted: list[bool] = []

    def varlen_attn(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Tensor:
        borders = cu_seq_q.tolist()
        assert cu_seq_q.dtype == torch.int32 and torch.equal(cu_seq_q, cu_seq_k)
        assert borders[0] == 0 and borders[-1] == len(query) == len(key) == len(value)
        assert max_q == max_k == max(np.diff(borders)) and min(np.diff(borders)) > 0
        assert all(one.stride(-1) == 1 for one in (query, key, value))
        times = query.shape[1] // key.shape[1]
        assert enable_gqa or times == 1
        parts = []
        for start, end in itertools.pairwise(borders):
            q, k, v = (one[start:end].double().transpose(0, 1) for one in (query, key, value))
            k, v = (one.repeat_interleave(times, 0) for one in (k, v))
            ahead = torch.arange(end - start)[None, :] - torch.arange(end - start)[:, None]
            left, right = (math.inf if size < 0 else size for size in window_size)
            scores = (q @ k.mT * scale).masked_fill((ahead > right) | (ahead < -left), -torch.inf)
            parts.append((scores.softmax(-1) @ v).transpose(0, 1))
        out: Tensor = _Watched.apply(torch.cat(parts).to(query.dtype), noted)  # type: ignore[no-untyped-call]
        return out

    monkeypatch.setattr(attention_flash, "varlen_attn", varlen_attn)
    monkeypatch.setattr(attention_flash, "can_use_flash_attention", lambda params: params.query.dtype != torch.float16)
    return noted


def rows(seed: int) -> list[TokenSequence]:
    """Rows of 2 to 60 tokens, some of them the same, others the beginning of another."""
    rng = np.random.default_rng(seed)
    made = [rng.integers(0, 9, size=rng.integers(2, 60)) for _ in range(12)]
    made += [made[0], made[1][: len(made[1]) // 2 + 1], made[2]]
    return [TokenSequence.of(f"rows:{i}", row, np.arange(len(row)) > 0) for i, row in enumerate(made)]


def attention(layout: Any, backend: Any, heads: tuple[int, int], window: int | None) -> list[Tensor]:
    """Output of random queries, and the gradients of query, key and value under a random one of the output."""
    torch.manual_seed(len(layout))
    query, key, value = (
        torch.randn(num, len(layout), 8, dtype=torch.float64, requires_grad=True) for num in (*heads, heads[1])
    )
    forest = ForestAttention(layout, CPU, backend)
    out = forest.attend(torch.nn.Identity(), query, key, value, Scoring(0.3, window))
    out.backward(torch.randn(out.shape, dtype=out.dtype))
    return [out.detach(), *(one.grad for one in (query, key, value) if one.grad is not None)]


@pytest.mark.parametrize("window", [None, 1, 7, 40])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2)])
def test_flash_computes_every_layout_without_sharing_as_the_dense_mask_does(
    kernel: list[bool], heads: tuple[int, int], window: int | None
) -> None:
    items = as_items(rows(seed=0))
    steps = [Plan(items, 6, 80, False, seed).step(index) for seed in (1, 2) for index in range(2)]
    forests = [forest for step in steps for forest in step.forests]
    forests += [forest for budget in (60, 999) for forest in pack(items, token_budget=budget, share_prefixes=False)]
    forests += list(pack(items[:1], token_budget=999, share_prefixes=True))  # a row alone shares nothing
    assert {len(forest.items) for forest in forests} >= {1, 2, len(items)}
    for forest in forests:
        flash = attention(forest.layout, "flash", heads, window)
        torch.testing.assert_close(flash, attention(forest.layout, "dense", heads, window), rtol=1e-10, atol=1e-10)
    assert kernel == [True] * len(forests) and not torch.are_deterministic_algorithms_enabled()


def test_the_call_is_one_that_this_pytorch_takes() -> None:
    ends = attention_flash.Ends(torch.tensor([0, 4, 10], dtype=torch.int32, device="meta"), 6)
    query, key, value = (torch.randn(num, 10, 16, device="meta", requires_grad=True) for num in (4, 2, 2))
    for window in (None, 3):
        out = attention_flash.attend(query, key, value, ends, 0.2, window)
        out.sum().backward()
        assert out.shape == query.shape and not torch.are_deterministic_algorithms_enabled()
        assert [one.grad is not None and one.grad.shape for one in (query, key, value)] == [
            one.shape for one in (query, key, value)
        ]


def call(**changes: Any) -> Call:
    values = {"device": CPU, "dtype": torch.bfloat16, "head_dim": 64, "value_dim": 64, "window": None}
    return Call(**{**values, "shared": False, "learns": True, **changes})  # type: ignore[arg-type]


def test_the_fastest_that_can_is_chosen_and_the_others_are_named(kernel: list[bool]) -> None:
    assert choose("auto", call()) == ("blocks", "")
    assert choose("auto", call(window=5))[0] == choose("auto", call(value_dim=32))[0] == "dense"
    assert choose("auto", call(device=torch.device("meta")))[0] == "dense"
    assert describe_choice("auto", [call()]) == "Attention: blocks (the fastest here)"
    assert describe_choice("dense", [call()]) == "Attention: dense (model.attention)"
    with FakeTensorMode():  # there need not be a GPU
        gpu = call(device=torch.device("cuda"))
        assert choose("auto", gpu) == choose("auto", replace(gpu, window=5)) == ("flash", "")
        for hindered, reason in (
            (replace(gpu, shared=True), "share"),
            (replace(gpu, dtype=torch.float16), "float16"),
            (replace(gpu, head_dim=20, value_dim=20), "20"),
        ):
            backend, why = choose("auto", hindered)
            assert backend == "flex" and reason in why
        with pytest.raises(ModelError, match="it is for CPUs"):
            choose("blocks", gpu)
        line = describe_choice("auto", [replace(gpu, shared=True)])
    assert line.startswith("Attention: flex (not flash: sequences share") and line.endswith("; flash elsewhere")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model.attention=flash", UNSHARED], "does not take float32 with heads of 16 on cpu"),
        (["model.attention=flash", UNSHARED, "train.precision=bfloat16"], "does not take bfloat16"),
        (["model.attention=flash"], "unless train.share_prefixes is false"),
        (["model.attention=flex"], "no backward pass on a CPU"),
    ],
)
def test_what_cannot_be_had_is_refused_before_the_first_step(
    tmp_path: Path, tiny_llama_dir: Path, overrides: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weitiao.training import precision

    monkeypatch.setattr(precision, "product_speeds", lambda device: dict.fromkeys(("float32", "bfloat16"), 1.0))
    recipe = write_recipe(tmp_path, tiny_llama_dir, num_rows=8)
    with pytest.raises(ModelError, match=reason) as caught:
        train(load_recipe(recipe, overrides), console=QUIET)
    assert caught.value.what.startswith("model.attention: ")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_blocks_with_a_window_is_refused_and_auto_is_dense_there(tmp_path: Path, tiny_llama_dir: Path) -> None:
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    recipe = write_recipe(tmp_path, tmp_path / "model", num_rows=8)
    told: list[str] = []
    train(load_recipe(recipe), console=QUIET, tell=told.append)
    (line,) = [line for line in told if line.startswith("Attention")]
    assert line == "Attention: dense (not blocks: a sliding window of 8 tokens hides part of a row); blocks elsewhere"
    with pytest.raises(ModelError, match="sliding window of 8"):
        train(load_recipe(recipe, ["model.attention=blocks", f"run_dir={tmp_path / 'other'}"]), console=QUIET)


def test_a_training_by_another_backend_has_the_same_losses(
    tmp_path: Path, tiny_llama_dir: Path, kernel: list[bool]
) -> None:
    sections = {
        "data": {"validation": 0.2},
        "train": {"epochs": 2, "share_prefixes": False, "validate_answers": 2, "learning_rate": 1e-3},
        "evaluate": {"generation": {"max_new_tokens": 2}},
    }
    losses, lines = {}, {}
    for name in ("auto", "dense", "flash"):
        recipe = write_recipe(tmp_path / name, tiny_llama_dir, num_rows=24, **sections)
        values = json.loads(recipe.read_text(encoding="utf-8"))
        recipe.write_text(json.dumps({**values, "method": {"type": "freeze", "layers": 1}}), encoding="utf-8")
        told: list[str] = []
        train(load_recipe(recipe, [f"model.attention={name}"]), console=QUIET, tell=told.append)
        steps = steps_of(tmp_path / name / "run")
        losses[name] = [step["loss"] for step in steps]
        lines[name] = told
    assert len(losses["auto"]) > 4
    assert losses["flash"] == pytest.approx(losses["auto"], rel=1e-5)
    assert losses["dense"] == pytest.approx(losses["auto"], rel=1e-5)
    assert kernel and all(kernel)
    assert "Attention: flash (model.attention)" in lines["flash"]
    assert any("layers are frozen below: what they give is kept" in line for line in lines["flash"])
    on = train(load_recipe(tmp_path / "flash" / "run", ["model.attention=dense", "train.epochs=3"]), console=QUIET)
    assert on.finished and on.steps > len(losses["flash"])  # a run may go on by another backend
