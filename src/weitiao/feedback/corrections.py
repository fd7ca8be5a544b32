"""A better answer that a person writes: an answer by that person, and the judgement that it is better."""

from __future__ import annotations

from weitiao.errors import DataError
from weitiao.feedback.items import first_shown, item_of
from weitiao.feedback.store import FeedbackStore, Judgement, Made, now


def correct(store: FeedbackStore, pair: str, text: str, *, judge: str, at: str | None = None) -> int:
    """Store a better answer than both of a pair.

    It stands in two new pairs, one with each answer, which this person has judged; others may judge them too, without
    knowing which answer is whose.

    Args:
        store: The store.
        pair: Id of the pair.
        text: The better answer.
        judge: Who wrote it: the model that the new answers are said to be of.
        at: When; now, where it is None. The same correction of the same time is stored once.

    Returns:
        How many pairs are new.

    Raises:
        DataError: There is no such pair, or the answer is one of the two that are there.
    """
    item, *made = store.pair(pair)
    if text.strip() in ("", item.a.strip(), item.b.strip()):
        raise DataError(
            "`text`: that is no other answer than the two.", "Write the answer that should have been given."
        )
    new = [
        (item_of(item.row_id, item.messages, old, text), one, Made(judge, {}))
        for old, one in zip(dict.fromkeys((item.a, item.b)), made, strict=False)
    ]
    kept = store.keep(new)
    time = at or now()
    store.add(*(Judgement(one.item_id, judge, first_shown(one.item_id, seed=0), "b", time) for one, _, _ in new))
    return kept
