"""Losses by the length of the text, and retention between models that cut text differently."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from reference import sequence_loss_sum
from rich.console import Console
from test_bpe import CHINESE, TEXTS
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import write_recipe

from weitiao.evaluation.likelihood import first_ids
from weitiao.models.config import ModelConfig
from weitiao.recipe import load_recipe
from weitiao.rendering.items import Item, TokenSequence
from weitiao.rendering.lengths import TextLength, TextLengths
from weitiao.retention.config import RetentionConfig
from weitiao.retention.parts import PassagePart
from weitiao.retention.run import retention_parts
from weitiao.study.retention import retention_target
from weitiao.study.train import train
from weitiao.vocabulary.extend import extend


@pytest.mark.parametrize("name", ["tiny_llama_dir", "sentencepiece_dir"])
def test_tokens_have_the_length_of_their_text(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = AutoTokenizer.from_pretrained(request.getfixturevalue(name))
    lengths, bos = TextLengths(tokenizer), tokenizer.bos_token_id
    prefix = 0 if name == "tiny_llama_dir" else 1  # SentencePiece's space in front
    items = []
    for text in filter(None, TEXTS):
        ids = [bos, *tokenizer.encode(text, add_special_tokens=False), bos]
        sequence = TokenSequence.of(text, ids, [0.0] + [1.0] * (len(ids) - 1))
        assert lengths.of([sequence]) == TextLength(prefix + len(text), prefix + len(text.encode()))
        items.append(Item(text, (sequence,), weight=0.5 + len(items)))
    total = sum(one.target_weight for one in items)
    expected = sum(one.weight * (prefix + len(one.row_id)) for one in items) / total
    assert lengths.per_weight(items).characters == pytest.approx(expected)


def test_retention_of_a_grown_model_is_by_the_tokens_of_the_model_before(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "zh.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in CHINESE), encoding="utf-8")
    done = extend(str(tiny_llama_dir), tmp_path / "zh", corpus=[str(data)], size=20)
    path = write_recipe(
        tmp_path, done.path, objective={"type": "pretrain"}, data={"train": str(data)},
        retention={"parts": ["text-zh"], "limit": 6},
    )  # fmt: skip
    path.write_text(json.dumps(json.loads(path.read_text()) | {"method": {"type": "full"}}))
    run = train(load_recipe(path), console=Console(quiet=True)).path
    found = retention_target(str(run), base_model=ModelConfig(name=str(tiny_llama_dir)), console=Console(quiet=True))
    assert found.comparison is not None
    (part,) = found.comparison.parts
    (passages,) = retention_parts(RetentionConfig(parts=("text-zh",), limit=6))
    assert isinstance(passages, PassagePart)
    means = []
    tokenizers = [AutoTokenizer.from_pretrained(one) for one in (tiny_llama_dir, run / "final")]
    for directory, tokenizer in zip((tiny_llama_dir, run / "final"), tokenizers, strict=True):
        model, values = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager"), []
        for text in passages.passages.values():
            ids = [*first_ids(tokenizer), *tokenizer.encode(text, add_special_tokens=False)]
            with torch.no_grad():
                nats = sequence_loss_sum(model, TokenSequence.of(text, ids, [0.0] + [1.0] * (len(ids) - 1)))
            before = [*first_ids(tokenizers[0]), *tokenizers[0].encode(text, add_special_tokens=False)]
            values.append(float(nats) / (len(before) - 1))
        means.append(sum(values) / len(values))
    assert (part.before.value, part.after.value) == pytest.approx(tuple(means), rel=1e-4)
    assert part.difference.value == pytest.approx(means[1] - means[0], rel=1e-3)
    assert found.after is not None
    assert found.after.parts[0].estimate.value > 1.05 * part.after.value  # of fewer tokens, each has more
