"""Judges over the answers of a comparison: people on the terminal, and judge models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from weitiao.evaluation.judges.local import LocalJudge
from weitiao.evaluation.judges.pairwise import Judge, JudgeConfig, ServerJudge, Spent
from weitiao.feedback.asking import ask_judge
from weitiao.feedback.human import judge_by_hand, keyboard
from weitiao.feedback.items import PreferenceItem
from weitiao.feedback.preference import Preferences
from weitiao.feedback.raters import sum_up
from weitiao.feedback.store import FeedbackStore
from weitiao.generation.chat_server import is_server
from weitiao.methods.open import open_model
from weitiao.study.compare.sides import find_side
from weitiao.study.setup import device_here
from weitiao.terminal.progress import answer_progress, teller

if TYPE_CHECKING:
    from rich.console import Console


def judge_answers(
    items: Sequence[PreferenceItem],
    judges: Sequence[str | JudgeConfig],
    kept: FeedbackStore,
    *,
    seed: int,
    console: Console,
) -> Preferences:
    """Let judges compare answers, and sum up what they say and what others said before.

    Args:
        items: Pairs of answers.
        judges: Names of persons (`is_person`), and judge models.
        kept: Where the judgements go, and whose judgements of these items count as well.
        seed: Of the order in which a person sees items and answers.
        console: Where questions and progress go.

    Returns:
        The preferences of all judges in the store, and how far they agree.

    Raises:
        WeitiaoError: A judge or its question cannot be used, or the store is damaged.
    """
    num_unparsable: dict[str, int] = {}
    for judge in judges:
        if isinstance(judge, str):
            _ask_person(items, kept, judge, seed=seed, console=console)
            continue
        name, missing = ask_model(judge, items, kept, console)
        num_unparsable[name] = missing
    return sum_up(items, kept, num_unparsable)


def _ask_person(
    items: Sequence[PreferenceItem], store: FeedbackStore, judge: str, *, seed: int, console: Console
) -> None:
    with keyboard() as read:
        session = judge_by_hand(items, store, judge=judge, seed=seed, console=console, read=read)
    left = f"{session.num_left:,} left; the same command goes on." if session.num_left else "all done."
    teller(console)(f"{session.num_new:,} judgements stored in {store.path}, {left}")


def ask_model(
    config: JudgeConfig, items: Sequence[PreferenceItem], store: FeedbackStore, console: Console
) -> tuple[str, int]:
    """Let a judge model compare answers; its name, and how many of its replies named neither answer."""
    model = _judge_model(config, console)
    with answer_progress(console, batch_size=1) as on_progress:
        asked = ask_judge(model, items, store, on_progress=on_progress)
    if asked.spent is not None and asked.spent != Spent():
        teller(console)(f"{model.name}: {asked.spent}")
    if isinstance(model, LocalJudge):
        _tell_letter_share(model, console)
    return model.name, asked.num_unparsable


def _judge_model(config: JudgeConfig, console: Console) -> Judge:
    if is_server(config.model):
        return ServerJudge(config)
    side = find_side(config.model)
    with console.status(Text(f"Loading {config.model}"), spinner="line"):
        opened = open_model(config.model, base=side.model, device=device_here())
    return LocalJudge(config, opened, weights=side.weights)


def _tell_letter_share(judge: LocalJudge, console: Console) -> None:
    if not judge.letter_shares:
        return
    share = sum(judge.letter_shares) / len(judge.letter_shares)
    weak = "; a judge that answers something else knows little about the question" if share < 0.5 else ""
    teller(console)(f"{judge.name} gives the letters A and B {share:.0%} of the probability of its reply{weak}")
