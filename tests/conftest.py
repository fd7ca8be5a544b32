"""Models that tests of several areas share: the real small one, and a random one that is made in a moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from forked import server
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

# Tests run side by side, each on a core: with a thread for every core in each of them, small sums wait for each other.
# torch reads it when it is imported, which is later than this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["LC_ALL"] = "C.UTF-8"  # the program speaks the language of the locale

# The suite tries the same few invented cases every time; `make fuzz` tries many new ones.
_SLOW_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("short", max_examples=50, derandomize=True, **_SLOW_MACHINE)
settings.register_profile("nightly", max_examples=10_000, print_blob=True, **_SLOW_MACHINE)
settings.load_profile("short")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="module")
def at_once() -> Iterator[None]:
    """Processes that the program starts are forked (see `forked`), and import nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(server().python))
        multiprocessing.set_executable(sys.executable)
        yield
    multiprocessing.set_executable(sys.executable)


@pytest.fixture(scope="session")
def smollm2_dir() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face directory: the real path from the GGUF file, in the user's own cache."""
    from weitiao.models.config import ModelConfig
    from weitiao.models.names import resolve_model

    return resolve_model(ModelConfig(name="smollm2-135m"))


@pytest.fixture(scope="session")
def tiny_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama (2 layers, hidden 64, 4 heads, 2 of keys) with a byte-level BPE and a ChatML template.

    It has no padding token, and weights large enough that predictions depend on the input.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = ["user assistant system answer the question in one word", "a small model learns from a few short examples"]
    backend.train_from_iterator(corpus * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHATML
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    return _saved(config, tokenizer, tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def sentencepiece_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose tokenizer is built as Llama 2's: ▁ for a space, no pre-tokenizer, bytes for the rest."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    english = ["a small model learns from a few short examples", "answer the question in one word", "the other thing"]
    learner = Tokenizer(models.BPE())
    learner.train_from_iterator(
        ["▁" + word for text in english for word in text.split()],
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
    return _saved(config, tokenizer, tmp_path_factory.mktemp("sentencepiece"))


def _saved(config: LlamaConfig, tokenizer: PreTrainedTokenizerFast, directory: Path) -> Path:
    """A directory with a random model and its tokenizer."""
    import torch
    from transformers import LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
