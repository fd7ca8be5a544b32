"""One person at the pairs of a store: what comes next, in which order answers are shown, what was said, undo.

The terminal and the pages ask with it; how a pair looks is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from weitiao.feedback.exchange import most_telling
from weitiao.feedback.items import Choice, Order, PreferenceItem, first_shown, shuffled_items
from weitiao.feedback.store import FeedbackStore, Judgement, now

HUMAN = "human"
Said = Literal["first", "second", "tie", "bad"]
"""What a person says of what is shown: by place, as nobody knows whose the answers are."""


def is_person(judge: str) -> bool:
    """Whether a judge is called `human`, or `human:NAME`."""
    return judge == HUMAN or judge.startswith(f"{HUMAN}:")


def person(name: str) -> str:
    """The judge that somebody is; who gives no name is `human`."""
    return f"{HUMAN}:{name}" if name else HUMAN


def choice_of(said: Said, order: Order) -> Choice:
    """The answer that a place means."""
    match said:
        case "first":
            return "a" if order == "ab" else "b"
        case "second":
            return "b" if order == "ab" else "a"
    return said


class Sitting:
    """What one person has judged of some pairs, and what is left.

    Pairs that nobody judged come first, then those whose judges agree least; else in an order that the seed decides, so
    that those judged before somebody leaves are a random sample. Those whose answers are the same do not come, and what
    was put off comes again in the next sitting.

    Args:
        items: Pairs of answers.
        store: Where the judgements go, each at once.
        judge: Who the person is.
        seed: Of the order of items and answers.

    Attributes:
        queue: Pairs to be judged, the next one first.
        made: Ids of the pairs that were judged in this sitting.
        num_skipped: Pairs that were put off.
        total: Pairs that there are to judge, those that are judged among them.
    """

    def __init__(self, items: Sequence[PreferenceItem], store: FeedbackStore, *, judge: str, seed: int) -> None:
        asked = [item for item in most_telling(shuffled_items(items, seed=seed), store) if not item.is_same]
        judged = {one.item_id: one for one in store.by(judge)}
        self._store, self._judge, self._seed = store, judge, seed
        self._by_id = {item.item_id: item for item in asked}
        self._history = [one for one in judged.values() if one.item_id in self._by_id]
        self.queue = [item for item in asked if item.item_id not in judged]
        self.made: set[str] = set()
        self.num_skipped = 0
        self.total = len(asked)

    @property
    def num_judged(self) -> int:
        """Pairs that this person has judged, now or before."""
        return len(self._history)

    def order(self, item: PreferenceItem) -> Order:
        """Which answer is shown first."""
        return first_shown(item.item_id, seed=self._seed)

    def last(self, num: int) -> list[PreferenceItem]:
        """The pairs that were judged last, the latest at the end."""
        return [self._by_id[one.item_id] for one in self._history[-num:]]

    def say(self, said: Said, *, seconds: float, comment: str | None) -> None:
        """Store what is said of the next pair."""
        item = self.queue[0]
        order = self.order(item)
        choice = choice_of(said, order)
        judgement = Judgement(item.item_id, self._judge, order, choice, now(), round(seconds, 1), comment)
        self._store.add(judgement)
        self._history.append(judgement)
        self.made.add(judgement.item_id)
        self.queue.pop(0)

    def skip(self) -> None:
        """Put the next pair off."""
        self.queue.pop(0)
        self.num_skipped += 1

    def undo(self) -> bool:
        """Take the last judgement back, also one of a sitting before, and ask again; whether there was one."""
        if not self._history:
            return False
        last = self._history.pop()
        self._store.withdraw(last)
        self.made.discard(last.item_id)
        self.queue.insert(0, self._by_id[last.item_id])
        return True
