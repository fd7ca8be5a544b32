"""Tokenizers that grew, against BPE done token by token, and against what their old selves make of text."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from weitiao.errors import ModelError
from weitiao.vocabulary.bpe import Bpe, learn_words, read_words

CHINESE = [
    "今天天气很好，我们一起去公园散步吧。",
    "天气预报说，明天天气也很好，我们明天再去公园。",
    "公园里的花开得很好，散步的人很多，天气很好。",
    "我们一起学习机器学习，机器学习很有意思。",
]
TEXTS = [
    *CHINESE,
    "the model learns from examples",
    "天气good！公园2026年 x 天",
    "🙂👩‍👩‍👧 naïve ½\tü",
    "  two  spaces \n\n lines\r\n",
    bytes(range(256)).decode("latin-1"),
    "\ufffd\x00 天",
    "",
]


def backend_of(directory: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(directory).backend_tokenizer


@pytest.fixture(params=["tiny_llama_dir", "sentencepiece_dir"])
def directory(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def merged(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Merges by the book: the earliest that applies, at its first place, until none does."""
    while True:
        found = [(ranks.get(pair, math.inf), place) for place, pair in enumerate(pairwise(pieces))]
        rank, place = min(found, default=(math.inf, 0))
        if rank == math.inf:
            return pieces
        pieces = [*pieces[:place], pieces[place] + pieces[place + 1], *pieces[place + 2 :]]


def by_the_book(old: Tokenizer, new: Tokenizer, text: str) -> list[str]:
    """The new tokens of a text: those of before, word by word, on which all merges of the new file go on."""
    ranks = {tuple(pair): rank for rank, pair in enumerate(json.loads(new.to_str())["model"]["merges"])}
    found = old.encode(text, add_special_tokens=False)
    tokens, before = [], object()
    words: list[list[str]] = []
    for token, word in zip(found.tokens, found.word_ids, strict=True):
        if word != before:
            words.append([])
        words[-1].append(token)
        before = word
    for word in words:
        tokens += merged(word, ranks)
    return tokens


def test_learned_words_are_the_most_frequent_pairs_one_after_the_other(tiny_llama_dir: Path) -> None:
    old = backend_of(tiny_llama_dir)
    bpe = Bpe(old, "it")
    learn_words(bpe, CHINESE, 30)
    new = bpe.backend()
    assert len(bpe.new) == 30 == new.get_vocab_size() - old.get_vocab_size()
    assert [new.token_to_id(token) for token in bpe.new] == list(range(old.get_vocab_size(), new.get_vocab_size()))
    merges = [tuple(pair) for pair in json.loads(new.to_str())["model"]["merges"]]
    num_old = len(json.loads(old.to_str())["model"]["merges"])
    words = []
    for text in CHINESE:
        found = old.encode(text)
        words += [[t for t, w in zip(found.tokens, found.word_ids, strict=True) if w == n] for n in set(found.word_ids)]
    for rank in range(num_old, len(merges)):
        counts = Counter(pair for word in words for pair in pairwise(word))
        assert counts[merges[rank]] == max(counts.values()) > 1
        words = [merged(word, {merges[rank]: 0}) for word in words]
    for text in TEXTS:
        assert new.encode(text).tokens == by_the_book(old, new, text)


def test_text_comes_back_and_text_without_new_words_is_cut_as_before(directory: Path) -> None:
    old = backend_of(directory)
    bpe = Bpe(old, "it")
    learn_words(bpe, CHINESE, 40)
    new = bpe.backend()
    kept = [one for one in (*TEXTS, "you can also train the other one") if not set(one) & set("".join(CHINESE))]
    assert len(kept) > 5
    for text in TEXTS:
        ids = new.encode(text, add_special_tokens=False).ids
        assert new.decode(ids, skip_special_tokens=False) == old.decode(old.encode(text).ids, skip_special_tokens=False)
        if "\ufffd" not in text:
            assert new.decode(ids, skip_special_tokens=False) == text
    for text in kept:
        assert new.encode(text).ids == old.encode(text).ids
    tokens = [sum(len(one.encode(text).ids) for text in CHINESE) for one in (old, new)]
    assert 2 * tokens[1] < tokens[0]
    for token in bpe.new:  # every one of them is made of old tokens, and is there when asked for
        assert [one.id for one in new.model.tokenize(token)] == [new.token_to_id(token)]
        assert len(old.model.tokenize(token)) > 1


def test_sentencepiece_gets_characters_and_does_not_join_words(sentencepiece_dir: Path) -> None:
    bpe = Bpe(backend_of(sentencepiece_dir), "it")
    learn_words(bpe, [*CHINESE * 2, "one and one and 12 12 12. one and one", "a！b！a！b！"], 60)
    characters = [token for token in bpe.new if len(token) == 1]
    counts = Counter("".join(CHINESE))
    assert len(characters) <= 45
    assert characters[0] == counts.most_common(1)[0][0]
    assert not [
        token for token in bpe.new if "▁" in token[1:] or "<0x" in token or token.count("1") + token.count("2") > 1
    ]
    assert any(len(token) > 1 and token in "".join(CHINESE) for token in bpe.new)


def words_of_model(path: Path, words: list[str]) -> Path:
    """A file of SentencePiece with these words, bytes and special pieces."""
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    kinds = [("<unk>", 2), ("<s>", 3), ("<0xE5>", 6), *((word, 1) for word in words)]
    for place, (piece, kind) in enumerate(kinds):
        proto.pieces.add(piece=piece, score=-float(place), type=kind)
    path.write_bytes(proto.SerializeToString())
    return path


def test_words_of_another_tokenizer_become_single_tokens(directory: Path, tmp_path: Path, tiny_llama_dir: Path) -> None:
    words = ["天气", "机器学习", "▁公园", "天气预报说", "一", "起", "▁the", "很好，我", "20", "▁a▁b"]
    read = read_words(words_of_model(tmp_path / "zh.model", words))
    assert read == [word.replace("▁", " ") for word in words]
    old = backend_of(directory)
    bpe = Bpe(old, "it")
    bpe.add_words(read)
    new = bpe.backend()
    for word in ("天气", "机器学习", "天气预报说", "一", "起"):
        inside = new.encode(f"，{word}。", add_special_tokens=False).ids
        assert new.token_to_id(bpe.spelling(word) or "") in inside
    assert bpe.spelling("很好，我") is None
    assert bpe.spelling("20") is None or bpe.byte_level  # SentencePiece's digits stand alone
    assert bpe.spelling(" a b") is None
    for text in ("the model", *TEXTS[6:]):
        assert new.encode(text).ids == old.encode(text).ids or "天" in text
    assert bpe.asked < set(bpe.new)

    learned = Bpe(backend_of(tiny_llama_dir), "it")
    learn_words(learned, CHINESE, 30)
    learned.backend().save(str(tmp_path / "tokenizer.json"))
    read = read_words(tmp_path / "tokenizer.json")
    assert "天气" in read
    assert "<|im_start|>" not in read
    again = Bpe(old, "it")
    again.add_words(read)
    assert again.backend().encode("天气").tokens[-1].endswith(again.spelling("天气") or "")


def test_tokenizers_of_other_kinds_are_refused(tmp_path: Path) -> None:
    from tokenizers import models

    with pytest.raises(ModelError, match=r"neither byte-level BPE nor SentencePiece's BPE \(WordPiece\)"):
        Bpe(Tokenizer(models.WordPiece({"a": 0}, unk_token="a")), "it")
    with pytest.raises(ModelError, match=r"neither .* \(BPE\)"):
        Bpe(Tokenizer(models.BPE({"a": 0}, [])), "it")
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "x.model").write_text("no such thing")
    for name in ("x.json", "x.model", "gone.json", "gone.model"):
        with pytest.raises(ModelError, match="cannot be read"):
            read_words(tmp_path / name)
