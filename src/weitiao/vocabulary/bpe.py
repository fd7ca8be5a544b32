"""BPE tokenizers, byte-level or SentencePiece: how they grow, and where new words come from."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Regex, Tokenizer, models, pre_tokenizers, trainers

from weitiao.errors import ModelError
from weitiao.models.boundary import loading
from weitiao.models.load import read_tokenizer
from weitiao.rendering.lengths import bytes_of

SPACE = "▁"
"""How SentencePiece spells a space."""

# What SentencePiece keeps apart when it learns words: spaces only in front, single digits, letters from other signs.
_SENTENCEPIECE_WORD = rf"{SPACE}*(?:\p{{L}}\p{{M}}*)+|\p{{N}}|{SPACE}*[^{SPACE}\p{{L}}\p{{M}}\p{{N}}]+|{SPACE}+"


class Bpe:
    """A BPE tokenizer that can grow.

    New merges stand behind all old ones, so they join what the old ones leave: a text is cut as before wherever no new
    word applies. New tokens get the ids behind all that there are.

    Args:
        tokenizer: Byte-level BPE (GPT-2, Qwen, Llama 3), or SentencePiece's (Llama 2, Gemma).
        name: What errors call it.

    Attributes:
        byte_level: Whether tokens are bytes, spelled as GPT-2 does; else they are characters.
        ids: Token to id, added tokens included.
        new: The tokens that were added here, in the order of their ids.
        asked: Those of them that were asked for, and are not only parts that lead to one.

    Raises:
        ModelError: It is of another kind.
    """

    def __init__(self, tokenizer: Tokenizer, name: str) -> None:
        self._state: dict[str, Any] = json.loads(tokenizer.to_str())
        model, cut = self._state["model"], json.dumps(self._state["pre_tokenizer"])
        self.byte_level = '"ByteLevel"' in cut
        spaces = SPACE in json.dumps([self._state["normalizer"], self._state["pre_tokenizer"]], ensure_ascii=False)
        affixed = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if model["type"] != "BPE" or affixed or not (self.byte_level or spaces):
            raise ModelError(
                f"The tokenizer of {name} is neither byte-level BPE nor SentencePiece's BPE ({model['type']}).",
                "Choose a model whose tokenizer is one of the two; single tokens can be added to any, with --tokens.",
            )
        added = {one["content"]: one["id"] for one in self._state["added_tokens"]}
        self.ids: dict[str, int] = model["vocab"] | added
        self.new: list[str] = []
        self.asked: set[str] = set()
        self._first = self._next = max(self.ids.values()) + 1
        self._ranks: dict[tuple[str, str], int] = {}
        for left, right in (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]):
            self._ranks.setdefault((left, right), len(self._ranks))
        self._bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        split = pre_tokenizers.Split(Regex(_SENTENCEPIECE_WORD), "isolated")
        self._words = tokenizer.pre_tokenizer if self.byte_level else split

    def spelling(self, text: str) -> str | None:
        """How a text would be spelled as one token; None where it is cut before merges, and so can be none."""
        spelled = text if self.byte_level else text.replace(" ", SPACE)
        if len(self._words.pre_tokenize_str(spelled)) != 1:
            return None
        return self._bytes.pre_tokenize_str(text)[0][0] if self.byte_level else spelled

    def pieces(self, spelled: str) -> list[str]:
        """The tokens that the merges make of the letters of a word, the earliest merge first."""
        parts = list(spelled)
        while len(parts) > 1:
            rank, at = min((self._ranks.get(pair, math.inf), place) for place, pair in enumerate(pairwise(parts)))
            if rank == math.inf:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts

    def add_token(self, token: str) -> None:
        """Give a token an id, unless it has one."""
        if token not in self.ids:
            self.ids[token] = self._next
            self._next += 1
            self.new.append(token)

    def merge(self, left: str, right: str) -> None:
        """Join two tokens wherever no earlier merge applies."""
        self._ranks.setdefault((left, right), len(self._ranks))
        self.add_token(left + right)

    def add_words(self, words: Iterable[str]) -> None:
        """Make words tokens, the first of them joined first, and single characters before all others.

        A word is joined from the pieces that it has by then, from the left. Its merges come behind those of all words
        before it, and so nothing later takes it apart.
        """
        for word in sorted(words, key=lambda word: len(word) > 1):
            spelled = self.spelling(word)
            if spelled is None or self.ids.get(spelled, self._first) < self._first:
                continue
            for letter in spelled:
                self.add_token(letter)
            self.asked.add(spelled)
            while len(parts := self.pieces(spelled)) > 1:
                self.merge(parts[0], parts[1])

    def backend(self, *, words_apart: bool = False) -> Tokenizer:
        """The tokenizer with what was added.

        Args:
            words_apart: Cut text into words before merges, where SentencePiece's tokenizers take it whole.
        """
        state = self._state | {"model": dict(self._state["model"])}
        if self.new:  # added tokens among them: their ids would be those of new words if they stood nowhere else
            state["model"]["vocab"] = dict(sorted(self.ids.items(), key=lambda one: one[1]))
        state["model"]["merges"] = [list(pair) for pair in self._ranks]
        backend = Tokenizer.from_str(json.dumps(state))
        if words_apart and not self.byte_level:
            own = [] if backend.pre_tokenizer is None else [backend.pre_tokenizer]
            backend.pre_tokenizer = pre_tokenizers.Sequence([*own, self._words])
        return backend


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
    if not path.exists():
        raise ModelError(
            f"{path} cannot be read: there is no such file.", "Name a directory, a tokenizer.json or a .model."
        )
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
