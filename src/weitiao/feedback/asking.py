"""Judge models over pairs of answers: every pair is asked about in both orders, and what is said is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from weitiao.evaluation.judges.pairwise import Judge, Reply, Spent
from weitiao.feedback.items import Choice, Order, PreferenceItem
from weitiao.feedback.store import FeedbackStore, Judgement, now

ORDERS: tuple[Order, Order] = ("ab", "ba")
_CHUNK = 16
"""Items that are asked about before their judgements are stored."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking a judge.

    Attributes:
        num_new: Judgements that were made now; the others were in the store.
        num_unparsable: Replies that named neither answer; they are not stored, and are asked for again next time.
        spent: What a server took; replies that did not come in time are asked for again, too.
    """

    num_new: int
    num_unparsable: int
    spent: Spent | None = None


def ask_judge(
    judge: Judge,
    items: Sequence[PreferenceItem],
    store: FeedbackStore,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Asked:
    """Let a judge model compare the answers of every item in both orders.

    Items whose answers are the same, and those that the store has a judgement of in both orders, are passed over.

    Args:
        judge: The judge.
        items: Pairs of answers.
        store: Where the judgements go, some items at a time.
        on_progress: Told how many questions are answered, and how many there are.
    """
    known = {(one.item_id, one.order) for one in store.by(judge.name)}
    open_questions = [
        (item, order) for item in items if not item.is_same for order in ORDERS if (item.item_id, order) not in known
    ]
    num_missing, total = 0, None
    for start in range(0, len(open_questions), len(ORDERS) * _CHUNK):
        chunk = open_questions[start : start + len(ORDERS) * _CHUNK]
        replies = judge.answer([judge.question.ask(item.messages, *item.shown(order)) for item, order in chunk])
        said = [
            Judgement(item.item_id, judge.name, order, _choice(reply, order), now())
            for (item, order), reply in zip(chunk, replies, strict=True)
            if reply is not None
        ]
        spent = judge.spent()
        store.add(*said, judge=judge.name, spent=spent)
        num_missing += len(chunk) - len(said)
        if spent is not None:
            total = Spent(*map(sum, zip(astuple(total or Spent()), astuple(spent), strict=True)))
        if on_progress is not None:
            on_progress(start + len(chunk), len(open_questions))
    late = total.timeouts if total is not None else 0
    return Asked(len(open_questions) - num_missing, num_missing - late, total)


def _choice(reply: Reply, order: Order) -> Choice:
    """The model whose answer stood in the place that the judge names."""
    if reply == "tie":
        return "tie"
    place = order[0 if reply == "first" else 1]
    return "a" if place == "a" else "b"
