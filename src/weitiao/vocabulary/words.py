"""Where new words come from: the vocabulary of another tokenizer, or a corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tokenizers import Encoding, Tokenizer, models, pre_tokenizers, trainers

from weitiao.models.boundary import loading
from weitiao.models.load import read_tokenizer
from weitiao.rendering.lengths import bytes_of
from weitiao.vocabulary.bpe import SPACE, Bpe

_BATCH = 1000
_FIRST = 0x10000
"""Where characters begin that stand for tokens, so that a trainer for text learns merges of tokens."""


def read_words(path: Path) -> list[str]:
    """The words of another tokenizer as text, in the order of its ids; no special tokens, bytes or parts of characters.

    Args:
        path: The directory of a model or tokenizer, a `tokenizer.json`, or a `.model` of SentencePiece.

    Raises:
        ModelError: It cannot be read, or is of another kind than BPE and SentencePiece.
    """
    if path.suffix == ".model":
        from transformers.convert_slow_tokenizer import import_protobuf

        with loading(f"The SentencePiece model {path} cannot be read", packages=("transformers",)):
            proto = import_protobuf().ModelProto()
            proto.ParseFromString(path.read_bytes())
            return [piece.piece.replace(SPACE, " ") for piece in proto.pieces if piece.type == 1]  # 1: NORMAL
    if path.is_dir():
        backend = read_tokenizer(path).backend_tokenizer
    else:
        with loading(f"The tokenizer {path} cannot be read", packages=("tokenizers",)):
            backend = Tokenizer.from_file(str(path))
    model = json.loads(backend.to_str())["model"]
    if model["type"] == "Unigram":
        tokens = [piece for piece, _ in model["vocab"]]
        byte_level = False
    else:
        byte_level = Bpe(backend, str(path)).byte_level
        tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    words = []
    for token in tokens:
        if token not in added and (byte_level or not token.startswith("<0x")):
            with suppress(UnicodeDecodeError):  # a part of a character
                words.append(bytes_of(token, byte_level=byte_level).decode())
    return words


def encoded(backend: Tokenizer, texts: Sequence[str]) -> Iterator[Encoding]:
    """Texts as tokens, many at once, without the tokens that stand around a text."""
    for start in range(0, len(texts), _BATCH):
        yield from backend.encode_batch(texts[start : start + _BATCH], add_special_tokens=False)


def learn_words(bpe: Bpe, texts: Sequence[str], size: int) -> None:
    """Learn new words from texts: go on with BPE from the tokens that texts have.

    A SentencePiece vocabulary first gets characters that it lacks, those seen more than once, the most frequent first,
    for at most half of the new words while there are others.

    Args:
        bpe: What grows.
        texts: The corpus.
        size: How many tokens to add; fewer are where no two tokens stand beside each other twice.
    """
    first = len(bpe.new)
    if not bpe.byte_level:
        seen = Counter(letter for text in texts for letter in text if letter not in bpe.ids and letter.isprintable())
        for letter, count in seen.most_common((size + 1) // 2):
            if count > 1 and bpe.spelling(letter) == letter:
                bpe.add_token(letter)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens = {index: token for token, index in bpe.ids.items()}
    learner.train_from_iterator(
        _as_letters(bpe, texts, tokens),
        trainers.BpeTrainer(vocab_size=len(tokens) + size, min_frequency=2, show_progress=False),
    )
    for pair in json.loads(learner.to_str())["model"]["merges"]:
        if len(bpe.new) - first == size:
            break
        bpe.merge(*("".join(tokens[ord(letter) - _FIRST] for letter in half) for half in pair))
    bpe.asked.update(bpe.new)
    if 0 < (added := len(bpe.new) - first) < size:
        learn_words(bpe, texts, size - added)


def choose_words(bpe: Bpe, words: Sequence[str], texts: Sequence[str], size: int | None) -> list[str]:
    """The words that texts use, when all of them are there: at most so many, the most frequent; in the old order.

    Args:
        bpe: With all of the words.
        words: To choose from, all of them in it.
        texts: The corpus.
        size: How many at most; None leaves none out that is used.
    """
    backend = bpe.backend()
    seen = Counter(index for found in encoded(backend, texts) for index in found.ids)
    counts = {word: seen[bpe.ids[bpe.spelling(word) or ""]] for word in words}
    used = sorted((word for word in words if counts[word]), key=lambda word: -counts[word])[:size]
    chosen = set(used)
    return [word for word in words if word in chosen]


def _as_letters(bpe: Bpe, texts: Sequence[str], tokens: dict[int, str]) -> Iterator[str]:
    """Texts in which every token is one letter and words stand apart."""
    backend = bpe.backend(words_apart=True)
    for found in encoded(backend, texts):
        letters, before = "", None
        for index, word in zip(found.ids, found.word_ids, strict=True):
            is_byte = not bpe.byte_level and tokens[index].startswith("<0x")  # of a letter that stays in bytes
            letters += " " if is_byte else (" " if word != before else "") + chr(_FIRST + index)
            before = None if is_byte else word
        yield letters
