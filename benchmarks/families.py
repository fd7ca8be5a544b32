"""Which causal language models of `transformers` run here, and how: each class, small, against its own forward.

    python -m benchmarks.families            # all of them, a line of JSON each; a quarter of an hour on two cores
    python -m benchmarks.families lfm2 bloom

A class is built with general sizes where its configuration has fields of these names. What cannot be built so says
nothing about the class; a test of its own in tests/families does.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from weitiao.forest.layout import build_forest
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate
from weitiao.models.attention import FOREST, runs_alone, set_backend
from weitiao.models.boundary import quiet_transformers, reason
from weitiao.models.losses import token_losses
from weitiao.models.probe import forest_or_alone
from weitiao.rendering.items import TokenSequence, as_items

SIZES: dict[str, Any] = {
    "vocab_size": 120, "hidden_size": 32, "n_embd": 32, "d_model": 32, "intermediate_size": 48, "ffn_dim": 48,
    "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4, "num_layers": 4, "num_attention_heads": 4, "n_head": 4,
    "n_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "n_positions": 512,
    "initializer_range": 0.15, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "is_decoder": True,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "topk_group": 1, "first_k_dense_replace": 1,
    "attention_dropout": 0.0, "hidden_dropout": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip
LATENT = {
    "num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}  # fmt: skip
MOST_PARAMETERS = 30_000_000
PROMPT_TOKENS, NEW_TOKENS = 20, 16


def small_config(kind: str) -> PreTrainedConfig:
    """The configuration of a family with general sizes."""
    made: Any = CONFIG_MAPPING[kind]
    if getattr(made, "sub_configs", None):
        raise ValueError("a model for several kinds of input: its text model stands under a name of its own")
    usual = made()
    sizes = {name: value for name, value in SIZES.items() if hasattr(usual, name)}
    if hasattr(usual, "kv_lora_rank"):  # heads of latent attention have sizes of their own
        sizes |= {name: value for name, value in LATENT.items() if hasattr(usual, name)}
        sizes.pop("head_dim", None)
    if getattr(usual, "sliding_window", None):
        sizes["sliding_window"] = 12
    try:
        config: PreTrainedConfig = made(**sizes)
    except (TypeError, ValueError, AttributeError):  # for some, the size of a head follows from the others
        sizes.pop("head_dim", None)
        config = made(**sizes)
    return config


def build(config: PreTrainedConfig, attention: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=attention).eval()


def trial(kind: str) -> dict[str, Any]:
    """How a family runs, and how far loss, gradient and answers are from those of its plain model."""
    config = small_config(kind)
    try:
        model = build(config, FOREST)
    except KeyError as error:
        if error.args != (FOREST,):
            raise
        model = build(config, "eager")
        set_backend(model, "alone")
    if sum(one.numel() for one in model.parameters()) > MOST_PARAMETERS:
        raise ValueError("it stays large with these sizes")
    rows = _rows()
    why = forest_or_alone(model, rows, longest=max(map(len, rows)))
    losses, weights = token_losses(model, build_forest(as_items(_sequences(rows))))
    loss = (losses * weights).sum()
    loss.backward()
    plain = build(config, "eager")
    expected = _plain_loss(plain, rows)
    ours, theirs = _gradient(model), _gradient(plain)
    return {
        "runs": "alone" if runs_alone(model) else "forest",
        "loss_error": abs(loss.item() - expected) / expected,
        "gradient_error": float((ours - theirs).norm() / theirs.norm()),
        "equal_answers": _equal_answers(model, plain, rows),
        "why": why,
    }


def _rows() -> list[list[int]]:
    rng = random.Random(0)
    stem = [rng.randrange(3, SIZES["vocab_size"]) for _ in range(PROMPT_TOKENS)]
    return [stem + [rng.randrange(3, SIZES["vocab_size"]) for _ in range(n)] for n in (6, 9, 14, 2)]


def _sequences(rows: list[list[int]]) -> list[TokenSequence]:
    return [TokenSequence.of(str(i), row, [0.0] + [1.0] * (len(row) - 1)) for i, row in enumerate(rows)]


def _plain_loss(model: Any, rows: list[list[int]]) -> float:
    total = 0.0
    for row in rows:
        ids = torch.tensor([row])
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        loss = F.cross_entropy(logits.float(), ids[0, 1:], reduction="sum")
        loss.backward()
        total += loss.item()
    return total


def _gradient(model: nn.Module) -> Tensor:
    parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in model.parameters()]
    return torch.cat([part.flatten() for part in parts])


def _equal_answers(model: Any, plain: Any, rows: list[list[int]]) -> str:
    try:
        answers = generate(model, rows, GenerationConfig(max_new_tokens=NEW_TOKENS), stop_ids=frozenset())
        equal = 0
        for row, answer in zip(rows, answers, strict=True):
            ids = torch.tensor([row])
            whole = plain.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS,
                eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
            equal += whole[0, len(row) :].tolist() == list(answer.token_ids)
    except Exception as error:  # noqa: BLE001 (whatever a class of another library raises is a line of this table)
        return reason(error)
    return f"{equal} of {len(rows)}"


def main(kinds: list[str]) -> None:
    for kind in kinds or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        try:
            with quiet_transformers():
                found = trial(kind)
        except Exception as error:  # noqa: BLE001 (as above)
            found = {"runs": None, "why": reason(error)}
        print(json.dumps({"family": kind, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
