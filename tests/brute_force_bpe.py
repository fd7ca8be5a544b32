"""Byte-level BPE by the book, written for the tests from the published rules, with another regex engine."""

from __future__ import annotations

import itertools
import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import regex

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")

TEXTS = [
    "Hello, world!",
    "Order 20391 of 2026-11-24: 3 x 19.99 EUR, tel. +49 30 1234567",
    "one\ntwo\n\nthree\n\n\nfour\r\n\r\nfive",
    "  leading,  inner   and trailing   ",
    "\tif x == 10:\n\t\treturn [i**2 for i in range(100)]  # squares\n",
    "我想退掉订单 12345，因为它坏了。",
    "😀👩‍👩‍👧‍👦🇩🇪 Ⅷ ½ ٣٤ ①",
    "it's we'll they'VE I'd 'tis don't",
    "Café de\u0301ja\u0300 vu — naïve “quotes”…",
    "a" * 50,
    "\x00\x07\u200b\u2028\u00a0x",
    "",
]


def cut_gpt2(text: str) -> list[str]:
    return regex.findall(GPT2, text)


def cut_smollm(text: str) -> list[str]:
    """Every numeric letter alone, GPT-2's rule for what lies between."""
    pieces, start = [], 0
    for index, letter in enumerate(text):
        if unicodedata.category(letter)[0] == "N":
            pieces += [*cut_gpt2(text[start:index]), letter]
            start = index + 1
    return pieces + cut_gpt2(text[start:])


def cut_llama3(text: str) -> list[str]:
    return regex.findall(LLAMA3, text)


def cut_qwen2(text: str) -> list[str]:
    return regex.findall(QWEN2, unicodedata.normalize("NFC", text))


def byte_alphabet() -> list[str]:
    """GPT-2's printable letter for each of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


@dataclass
class BruteForceBpe:
    """Cut, then merge the pair that was learned first until none is left."""

    tokens: list[str]
    merges: list[str]
    specials: set[str]
    cut: Callable[[str], list[str]]
    takes_whole_pieces: bool = False

    def __post_init__(self) -> None:
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        self.ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(self.merges)}
        self.letters = byte_alphabet()

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in regex.split("(" + "|".join(map(regex.escape, sorted(self.specials))) + ")", text):
            if part in self.specials:
                ids.append(self.ids[part])
                continue
            for piece in self.cut(part):
                ids += [self.ids[symbol] for symbol in self.merge(piece)]
        return ids

    def merge(self, piece: str) -> list[str]:
        symbols = [self.letters[byte] for byte in piece.encode()]
        if self.takes_whole_pieces and "".join(symbols) in self.ids:
            return ["".join(symbols)]
        while True:
            pairs = list(itertools.pairwise(symbols))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)), default=None)
            if best is None or best not in self.ranks:
                return symbols
            position = pairs.index(best)
            symbols[position : position + 2] = ["".join(best)]


def random_texts(num_texts: int, *, seed: int) -> list[str]:
    """Strings of letters, digits, blanks, punctuation, Chinese, emoji, and anything else that Unicode has."""
    source = random.Random(seed)
    kinds = ["abcXYZ  ", "0123456789", " \n\r\t", ".,;:!?'\"-_/\\{}[]()<|>", "中文微调模型，。", "😀🎉é\u0301½Ⅷ"]

    def letter() -> str:
        return source.choice(source.choice(kinds)) if source.random() < 0.9 else chr(source.randrange(1, 0xD800))

    return ["".join(letter() for _ in range(source.randrange(1, 60))) for _ in range(num_texts)]
