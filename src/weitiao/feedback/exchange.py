"""Feedback as rows of data: preferences to learn from, and all of it to take elsewhere and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from weitiao.data.example import Example, asked, sides
from weitiao.feedback.items import Choice, PreferenceItem, first_shown, item_of
from weitiao.feedback.store import FeedbackStore, Judgement, Made, by_judge, now


@dataclass(frozen=True, slots=True)
class Preferred:
    """A pair with a winner.

    Attributes:
        item: The pair.
        chosen, rejected: The better and the worse answer.
        votes: How many judges chose the better one, less those who chose the other.
        share: Share of the judges of the pair who chose the better one.
    """

    item: PreferenceItem
    chosen: str
    rejected: str
    votes: int
    share: float

    def row(self) -> dict[str, Any]:
        """As a row of data: `messages` with the prompt, `chosen` and `rejected`."""
        return {
            "messages": list(self.item.messages),
            "chosen": {"role": "assistant", "content": self.chosen},
            "rejected": {"role": "assistant", "content": self.rejected},
            "judges_share": self.share,
        }


def preferred(store: FeedbackStore, judges: Sequence[str] = ()) -> Iterator[Preferred]:
    """The pairs with more judges for one answer than for the other, in the order in which they came.

    Args:
        store: Pairs and judgements.
        judges: Whose judgements count; all where none are named. What one judge says in both orders counts once.
    """
    votes = votes_of(store, judges)
    for item, _, _ in store.pairs():
        counts = votes.get(item.item_id, Counter())
        if (lead := counts["a"] - counts["b"]) != 0:
            better, worse = (item.a, item.b) if lead > 0 else (item.b, item.a)
            share = max(counts["a"], counts["b"]) / counts.total()
            yield Preferred(item, better, worse, abs(lead), share)


def votes_of(store: FeedbackStore, judges: Sequence[str] = ()) -> dict[str, Counter[Choice]]:
    """How many judges chose what, by pair."""
    votes: dict[str, Counter[Choice]] = {}
    for found in choices_by_judge(store, judges).values():
        for pair, choice in found.items():
            votes.setdefault(pair, Counter())[choice] += 1
    return votes


def most_telling(items: Iterable[PreferenceItem], store: FeedbackStore) -> list[PreferenceItem]:
    """Pairs with the fewest judges first, and of these those whose judges agree least; else in the order given."""
    votes = votes_of(store)

    def order(item: PreferenceItem) -> tuple[int, float]:
        counts = votes.get(item.item_id)
        return (counts.total(), max(counts.values()) / counts.total()) if counts else (0, 0.0)

    return sorted(items, key=order)


def choices_by_judge(store: FeedbackStore, judges: Sequence[str] = ()) -> dict[str, Mapping[str, Choice]]:
    """What each judge chose, by pair; a judge that contradicts itself in the other order chose a tie."""
    from weitiao.feedback.preference import winners_by_item  # with NumPy and statistics

    wanted = (one for one in store.judgements() if not judges or one.judge in judges)
    return {judge: winners_by_item(found) for judge, found in by_judge(wanted).items()}


def whole_rows(store: FeedbackStore) -> Iterator[dict[str, Any]]:
    """Every pair with all that was said of it, as `take_in` reads it again."""
    said: dict[str, list[Judgement]] = {}
    for one in store.judgements():
        said.setdefault(one.item_id, []).append(one)
    for item, made_a, made_b in store.pairs():
        judgements = [{k: v for k, v in asdict(one).items() if k != "item_id"} for one in said.get(item.item_id, [])]
        yield {
            "row_id": item.row_id,
            "messages": list(item.messages),
            "a": {"text": item.a, **asdict(made_a)},
            "b": {"text": item.b, **asdict(made_b)},
            "judgements": judgements,
        }


def take_in(store: FeedbackStore, rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Store what `whole_rows` gave elsewhere.

    Returns:
        How many pairs and how many judgements are new.
    """
    known, pairs, judgements = set(store.judgements()), [], []
    for row in rows:
        a, b = row["a"], row["b"]
        item = item_of(row["row_id"], tuple(row["messages"]), a["text"], b["text"])
        pairs.append((item, Made(a["model"], a["sampling"]), Made(b["model"], b["sampling"])))
        judgements += [Judgement(item.item_id, **one) for one in row["judgements"]]
    fresh = [one for one in judgements if one not in known]
    num_pairs = store.keep(pairs)
    store.add(*fresh)
    return num_pairs, len(fresh)


def take_in_preferences(store: FeedbackStore, examples: Iterable[Example], *, judge: str) -> tuple[int, int]:
    """Store rows of a better and a worse answer as pairs that somebody judged.

    Args:
        store: Where they go.
        examples: Rows of pairs.
        judge: Who is said to have judged.

    Returns:
        How many pairs and how many judgements are new.
    """
    known, pairs, fresh = {one.item_id for one in store.by(judge)}, [], []
    for example in examples:
        (prompt, better), (_, worse) = (asked(one) for one in sides(example))
        order = first_shown(f"{example.row_id}:{better}", seed=0)  # so that a place says nothing
        item = item_of(example.row_id, prompt, *((better, worse) if order == "ab" else (worse, better)))
        pairs.append((item, Made(judge, {}), Made(judge, {})))
        if item.item_id not in known:
            shown = first_shown(item.item_id, seed=0)
            fresh.append(Judgement(item.item_id, judge, shown, "a" if order == "ab" else "b", now()))
    num_pairs = store.keep(pairs)
    store.add(*fresh)
    return num_pairs, len(fresh)


def pairs_of(
    example: Example, answers: Sequence[tuple[str, Made]], most: int
) -> list[tuple[PreferenceItem, Made, Made]]:
    """Of the answers to a prompt those pairs that differ most, by the words that they do not share.

    Args:
        example: The row.
        answers: With what made each; of equal ones the first counts.
        most: How many pairs at most.
    """
    prompt, _ = asked(example)
    different = list({text.strip(): (text, made) for text, made in reversed(answers)}.values())[::-1]
    ranked = sorted(combinations(different, 2), key=lambda two: _likeness(two[0][0], two[1][0]))
    return [(item_of(example.row_id, prompt, one[0], other[0]), one[1], other[1]) for one, other in ranked[:most]]


def _likeness(one: str, other: str) -> float:
    first, second = set(one.casefold().split()), set(other.casefold().split())
    return len(first & second) / max(1, len(first | second))
