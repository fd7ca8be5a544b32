"""Small tokenizers of the three kinds that models have, trained here."""

from __future__ import annotations

import copy
import json
from functools import cache

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
]
ADDED = ["<tool_call>", "</tool_call>"]
CORPUS = [
    "system user assistant You are a helpful assistant.\n\nWhat is it? It is 12 of 2025.\n",
    "[INST] Say it again [/INST] Certainly: here it is, the answer to the question.\n\n\n",
    "### Instruction:\nWrite a response\n\n### Response:\n    the response  with spaces\n\n",
    "今天天气很好，我们去公园。你好，世界！ 🙂🎉👩‍👩‍👧 café naïve",
    '<think>\nIt is clear.\n</think>\n\n{"name": "lookup", "arguments": {"city": "Paris"}}',
] * 20


def _byte_level() -> tuple[Tokenizer, trainers.BpeTrainer]:
    """GPT-2 and SmolLM2: digits one by one, then bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )


def _newline_runs() -> tuple[Tokenizer, trainers.BpeTrainer]:
    """Llama 3 and Qwen: a run of newlines is one piece, whatever follows it; text is normalised to NFC."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    words = Regex(r"\p{N}{1,3}|\s*[\r\n]+|[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )


def _sentence_piece() -> tuple[Tokenizer, trainers.BpeTrainer]:
    """Llama 2 and Mistral: a space in front of the text, unknown characters as bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", *bytes_], limit_alphabet=70, max_token_length=12, show_progress=False
    )
    return tokenizer, trainer


KINDS = {"byte_level": _byte_level, "newline_runs": _newline_runs, "sentence_piece": _sentence_piece}


@cache
def _trained(kind: str) -> PreTrainedTokenizerFast:
    tokenizer, trainer = KINDS[kind]()
    tokenizer.train_from_iterator(CORPUS, trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = []  # the trainer marks the byte tokens as special, and in SentencePiece they are not
    tokenizer = Tokenizer.from_str(json.dumps(state))
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="</s>")
    wrapped.add_special_tokens({"additional_special_tokens": SPECIAL})
    wrapped.add_tokens(ADDED)
    return wrapped


@pytest.fixture(params=list(KINDS))
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """A tokenizer of each kind, without a chat template."""
    return copy.deepcopy(_trained(request.param))


@pytest.fixture
def byte_level() -> PreTrainedTokenizerFast:
    """The byte-level tokenizer, without a chat template."""
    return copy.deepcopy(_trained("byte_level"))


@pytest.fixture
def newline_runs() -> PreTrainedTokenizerFast:
    """The tokenizer in which newlines grow together, without a chat template."""
    return copy.deepcopy(_trained("newline_runs"))


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    """One of each kind, for tests that set a chat template before every use."""
    return {kind: copy.deepcopy(_trained(kind)) for kind in KINDS}
