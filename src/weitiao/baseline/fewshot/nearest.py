"""The texts that are most like another, by the words that they share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

# Scripts that are written without spaces between words, or (Hangul) whose words carry endings.
_CJK = "\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"(?P<cjk>[{_CJK}]+)|[^\W_{_CJK}]+")


def nearest(texts: Sequence[str], queries: Sequence[str], num: int) -> list[list[int]]:
    """Find for each query the texts with the highest BM25 score.

    BM25 as Lucene computes it, `k1 = 1.5` and `b = 0.75` (S. Robertson, H. Zaragoza, "The Probabilistic Relevance
    Framework: BM25 and Beyond", 2009; C. Kamphuis et al., "Which BM25 Do You Mean?", 2020, for the variant).

    Args:
        texts: What is searched, at least `num`.
        queries: What is searched for.
        num: How many texts for each query.

    Returns:
        For each query the places of its texts, the most alike first; of equal scores the earlier text first.
    """
    import bm25s

    # A text without a term still has to keep its place.
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index([terms(text) or [""] for text in texts], show_progress=False)
    found = []
    for query in queries:
        known = [term for term in terms(query) if term in index.vocab_dict]
        scores = index.get_scores(known) if known else np.zeros(len(texts))
        found.append([int(place) for place in np.argsort(-scores, kind="stable")[:num]])
    return found


def terms(text: str) -> list[str]:
    """Cut a text into what BM25 compares.

    Words are runs of letters and digits, without regard to case. Chinese, Japanese and Korean are cut into overlapping
    pairs of characters, for which no dictionary is needed and which retrieve about as well as words do (K. L. Kwok,
    "Comparing Representations in Chinese Information Retrieval", SIGIR 1997). A single character stands for itself.

    Args:
        text: The text.

    Returns:
        The terms in their order, repeated as often as they occur.
    """
    found: list[str] = []
    for match in _RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match.group()
        if match.group("cjk") and len(run) > 1:
            found += [first + second for first, second in pairwise(run)]
        else:
            found.append(run)
    return found
