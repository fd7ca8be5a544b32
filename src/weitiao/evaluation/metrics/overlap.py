"""Metrics of overlap with a reference text: ROUGE-L, BLEU and chrF."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr

from weitiao.evaluation.metrics.base import HAN, KANA, Item, Metric, WholeSet
from weitiao.evaluation.statistics import Floats

_KANA, _HAN = re.compile(f"[{KANA}]"), re.compile(f"[{HAN}]")
_WORD = re.compile(rf"[{KANA}{HAN}]|[^\W_{KANA}{HAN}]+")
_BLEU_ORDER, _CHRF_ORDER, _CHRF_BETA = 4, 6, 2


class RougeL(Metric):
    """ROUGE-L: F1 of the longest common subsequence of words; Chinese characters are words of their own.

    C.-Y. Lin, "ROUGE", 2004, eq. 2-4 with beta 1. Words are compared without case, kana are words of their own as well,
    and nothing is stemmed.
    """

    type: Literal["rouge_l"] = "rouge_l"
    """The metric."""

    packages: ClassVar[tuple[str, ...]] = ("rouge-score",)

    _scorer: Any = PrivateAttr()

    def prepare(self) -> None:
        from rouge_score.rouge_scorer import RougeScorer

        self._scorer = RougeScorer(["rougeL"], tokenizer=_Words())

    def grade(self, item: Item) -> float:
        return float(self._scorer.score(item.expected, item.answer)["rougeL"].fmeasure)


class _Words:
    """What rouge-score takes as tokenizer: its own drops everything but ASCII letters and digits."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.casefold())


class Bleu(Metric):
    """BLEU of the whole set by sacrebleu; its grades are those of the sentences (smoothed, effective order)."""

    type: Literal["bleu"] = "bleu"
    """The metric."""

    tokenize: Literal["auto", "13a", "zh", "intl", "char", "none"] = "auto"
    """The tokenizer of sacrebleu. `auto`: `zh` for references with Chinese characters, `char` for those with kana, else
    `13a`."""

    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    _scorers: dict[str, Any] = PrivateAttr()

    def prepare(self) -> None:
        from sacrebleu.metrics.bleu import BLEU

        names = ("13a", "zh", "char") if self.tokenize == "auto" else (self.tokenize,)
        self._scorers = {one: BLEU(tokenize=one, effective_order=True, force=True) for one in names}

    def grade(self, item: Item) -> float:
        return min(1.0, float(self._sentence(item).score) / 100)

    def whole_set(self, items: Sequence[Item]) -> WholeSet:
        rows = []
        for item in items:
            found = self._sentence(item)
            rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
        return WholeSet(np.array(rows, dtype=np.float64), corpus_bleu)

    def details(self, items: Sequence[Item]) -> dict[str, Any]:
        return {"tokenize": sorted({self._tokenizer(item.expected) for item in items})}

    def _tokenizer(self, reference: str) -> str:
        if self.tokenize != "auto":
            return self.tokenize
        return "char" if _KANA.search(reference) else "zh" if _HAN.search(reference) else "13a"

    def _sentence(self, item: Item) -> Any:
        return self._scorers[self._tokenizer(item.expected)].sentence_score(item.answer, [item.expected])


def corpus_bleu(sums_BK: Floats) -> Floats:
    """BLEU (K. Papineni et al., 2002) of whole sets, 0 to 1, with sacrebleu's exponential smoothing.

    Args:
        sums_BK: Length of the answers, of the references, matching n-grams for n = 1 to 4, and all n-grams likewise.
    """
    length_B, reference_B = sums_BK[:, 0], sums_BK[:, 1]
    right_BN, all_BN = sums_BK[:, 2 : 2 + _BLEU_ORDER], sums_BK[:, 2 + _BLEU_ORDER :]
    # The k-th order without a match counts as if it had 1 / 2^k of one.
    smoothed_BN = np.where(right_BN > 0, right_BN, 0.5 ** np.cumsum(right_BN == 0, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        precision_B = np.exp(np.log(smoothed_BN / all_BN).mean(1))
        brevity_B = np.where(length_B < reference_B, np.exp(1 - reference_B / length_B), 1.0)
        defined_B = (all_BN > 0).all(1) & (right_BN.sum(1) > 0)
        return np.where(defined_B, precision_B * brevity_B, 0.0)


class Chrf(Metric):
    """chrF of the whole set by sacrebleu; its grades are those of the sentences."""

    type: Literal["chrf"] = "chrf"
    """The metric."""

    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    _scorer: Any = PrivateAttr()

    def prepare(self) -> None:
        from sacrebleu.metrics.chrf import CHRF

        self._scorer = CHRF(char_order=_CHRF_ORDER, beta=_CHRF_BETA)

    def grade(self, item: Item) -> float:
        return float(self._scorer.sentence_score(item.answer, [item.expected]).score) / 100

    def whole_set(self, items: Sequence[Item]) -> WholeSet:
        rows = [[count for n in range(1, _CHRF_ORDER + 1) for count in _ngrams(item, n)] for item in items]
        return WholeSet(np.array(rows, dtype=np.float64), corpus_chrf)


def _ngrams(item: Item, n: int) -> tuple[int, int, int]:
    """Character n-grams of the answer, of the reference, and those that both have."""
    from sacrebleu.metrics.helpers import extract_char_ngrams

    answer, reference = (extract_char_ngrams("".join(text.split()), n) for text in (item.answer, item.expected))
    # As in sacrebleu, n-grams of an answer do not count where the reference is too short to have any.
    return answer.total() if reference else 0, reference.total(), (answer & reference).total()


def corpus_chrf(sums_BK: Floats) -> Floats:
    """chrF2 (M. Popović, 2015) of whole sets, 0 to 1, averaged over the orders that answers and references have.

    Args:
        sums_BK: For n = 1 to 6 the character n-grams of the answers, of the references, and those that both have.
    """
    answer_BN, reference_BN, both_BN = (sums_BK[:, place::3] for place in range(3))
    defined_BN = (answer_BN > 0) & (reference_BN > 0)
    orders_B = np.maximum(defined_BN.sum(1), 1)
    precision_B = (defined_BN * both_BN / np.maximum(answer_BN, 1)).sum(1) / orders_B
    recall_B = (defined_BN * both_BN / np.maximum(reference_BN, 1)).sum(1) / orders_B
    weighted_B = _CHRF_BETA**2 * precision_B + recall_B
    score: Floats = (1 + _CHRF_BETA**2) * precision_B * recall_B / np.where(weighted_B > 0, weighted_B, 1)
    return score
