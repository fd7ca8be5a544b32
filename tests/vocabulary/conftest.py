"""Small models whose vocabularies grow: byte-level (tied) in tests/conftest.py, SentencePiece's (not tied) here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, trainers

ENGLISH = ["a small model learns from a few short examples", "answer the question in one word", "the other thing"]


@pytest.fixture(scope="session")
def sentencepiece_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose tokenizer is built as Llama 2's: ▁ for a space, no pre-tokenizer, bytes for the rest."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    learner = Tokenizer(models.BPE())
    learner.train_from_iterator(
        ["▁" + word for text in ENGLISH for word in text.split()],
        trainers.BpeTrainer(vocab_size=60, show_progress=False),
    )

    learned = json.loads(learner.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*first, *learned["vocab"], "▁", "x"]))}
    merges = [tuple(pair) for pair in learned["merges"]]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    size = len(tokenizer) + len(tokenizer) % 2 + 1  # odd: nothing is padded
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, initializer_range=0.1, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("sentencepiece")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
