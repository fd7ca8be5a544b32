"""Token ids of the tokenizer made from a GGUF file, against a merge loop written from the published rules."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from brute_force_bpe import TEXTS, BruteForceBpe, cut_gpt2, cut_llama3, cut_qwen2, cut_smollm, random_texts
from gguf import GGUFReader
from tiny_gguf import (
    NO_MERGES_LEAD_HERE,
    SPECIALS,
    TEMPLATE,
    random_model,
    train_sentencepiece,
    train_vocabulary,
    write_gguf,
)
from transformers import AutoTokenizer

from weitiao.errors import ModelError
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_tokenizer

RULES = {
    "gpt-2": (cut_gpt2, False),
    "smollm": (cut_smollm, False),
    "llama-bpe": (cut_llama3, True),
    "dbrx": (cut_llama3, False),
    "qwen2": (cut_qwen2, False),
    "command-r": (cut_smollm, False),
}


def test_smollm2_ids_are_those_of_the_published_rule(smollm2_dir: Path, smollm2_file: GGUFReader) -> None:
    fields = smollm2_file.fields
    tokens, kinds = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()
    specials = {token for token, kind in zip(tokens, kinds, strict=True) if kind == 3}
    reference = BruteForceBpe(tokens, fields["tokenizer.ggml.merges"].contents(), specials, cut_smollm)
    tokenizer = load_tokenizer(ModelConfig(name=str(smollm2_dir)))
    with_specials = ["<|im_start|>user\nHow many? 42<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>1<|im_end|>2"]
    for text in [*TEXTS, *with_specials, *random_texts(400, seed=1)]:
        assert tokenizer(text).input_ids == reference.encode(text), repr(text)


def test_smollm2_ids_are_those_that_other_programs_print(smollm2_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(name=str(smollm2_dir)))
    assert tokenizer("Hello world! 123").input_ids == [19556, 905, 17, 216, 33, 34, 35]
    assert tokenizer("  multiple   spaces").input_ids == [216, 2701, 256, 5600]


def test_smollm2_text_survives_the_round_trip(smollm2_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(name=str(smollm2_dir)))
    for text in [*TEXTS, *random_texts(100, seed=2)]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_smollm2_special_tokens_and_template_are_those_of_the_file(smollm2_dir: Path, smollm2_file: GGUFReader) -> None:
    stated = {key: field.contents() for key, field in smollm2_file.fields.items()}
    tokenizer = load_tokenizer(ModelConfig(name=str(smollm2_dir)))
    assert tokenizer.bos_token_id == stated["tokenizer.ggml.bos_token_id"]
    assert tokenizer.eos_token_id == stated["tokenizer.ggml.eos_token_id"]
    assert tokenizer.pad_token_id == stated["tokenizer.ggml.padding_token_id"]
    assert tokenizer.chat_template == stated["tokenizer.chat_template"]
    assert len(tokenizer) == len(stated["tokenizer.ggml.tokens"])
    assert tokenizer.model_max_length == stated["llama.context_length"]
    assert stated["tokenizer.ggml.add_bos_token"] is False
    assert tokenizer("a").input_ids == tokenizer("a", add_special_tokens=False).input_ids


@pytest.mark.parametrize("pre", RULES)
def test_ids_of_each_family_are_those_of_its_published_rule(pre: str, tmp_path: Path) -> None:
    tokens, merges = train_vocabulary()
    path = write_gguf(
        tmp_path / "tiny.gguf", random_model("llama", len(tokens)), (tokens, merges), pre=pre, add_bos=False
    )
    tokenizer = load_tokenizer(ModelConfig(name=str(path)), cache_dir=tmp_path / "cache")
    cut, takes_whole_pieces = RULES[pre]
    reference = BruteForceBpe(tokens, merges, set(SPECIALS), cut, takes_whole_pieces)
    for text in [*TEXTS, NO_MERGES_LEAD_HERE, "<|im_start|>12345 67\n\n<|im_end|>", *random_texts(100, seed=3)]:
        assert tokenizer(text).input_ids == reference.encode(text), repr(text)
    assert tokenizer.chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("pre", "add_bos", "is_added"),
    [("llama-bpe", None, True), ("llama-bpe", False, False), ("smollm", None, False), ("smollm", True, True)],
)
def test_a_bos_token_is_added_as_the_file_says_or_else_as_the_family_does(
    pre: str, add_bos: bool | None, is_added: bool, tmp_path: Path
) -> None:
    tokens, merges = train_vocabulary()
    path = write_gguf(
        tmp_path / "tiny.gguf", random_model("llama", len(tokens)), (tokens, merges), pre=pre, add_bos=add_bos
    )
    directory_name = ModelConfig(name=str(path))
    tokenizer = load_tokenizer(directory_name, cache_dir=tmp_path / "cache")
    ids = tokenizer("the").input_ids
    assert (ids[0] == tokenizer.bos_token_id) is is_added
    assert tokenizer("the", add_special_tokens=False).input_ids == (ids[1:] if is_added else ids)


def test_plain_transformers_reads_the_same_tokenizer_from_the_cache(smollm2_dir: Path) -> None:
    ours, plain = load_tokenizer(ModelConfig(name=str(smollm2_dir))), AutoTokenizer.from_pretrained(str(smollm2_dir))
    for text in [*TEXTS, *random_texts(50, seed=4)]:
        assert plain(text).input_ids == ours(text).input_ids


def by_scores(text: str, tokens: list[str]) -> list[int]:
    """SentencePiece's own rule: again and again, the neighbours that make the token with the best score become one."""
    rank = {token: place for place, token in enumerate(tokens)}
    parts = list("▁" + text.replace(" ", "▁"))
    while True:
        pairs = [(rank[a + b], at) for at, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in rank]
        if not pairs:
            break
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    bytes_of = [[f"<0x{byte:02X}>" for byte in part.encode()] if part not in rank else [part] for part in parts]
    return [rank[token] for found in bytes_of for token in found]


def test_a_sentencepiece_vocabulary_cuts_text_by_its_scores(tmp_path: Path) -> None:
    tokens = train_sentencepiece()
    path = write_gguf(tmp_path / "tiny.gguf", random_model("llama", len(tokens)), (tokens, []), pre=None)
    tokenizer = load_tokenizer(ModelConfig(name=str(path)), cache_dir=tmp_path / "cache")
    for text in [t for t in (*TEXTS, " the", "the  order ", "\n", "模型 ½", *random_texts(100, seed=3)) if t]:
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id == 1
        assert ids[1:] == by_scores(text, tokens), repr(text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("pre", ["default", "an-invention"])
def test_an_unknown_pretokenizer_is_refused(pre: str, tmp_path: Path) -> None:
    tokens, merges = train_vocabulary()
    path = write_gguf(tmp_path / "tiny.gguf", random_model("llama", len(tokens)), (tokens, merges), pre=pre)
    with pytest.raises(ModelError, match=f"pre-tokenizer '{pre}'.*\n.*Hugging Face directory"):
        load_tokenizer(ModelConfig(name=str(path)), cache_dir=tmp_path / "cache")
