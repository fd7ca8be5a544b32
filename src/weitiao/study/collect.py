"""Rows of a recipe with `feedback`: models answer its prompts, judges compare the answers, the winners are learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.data.config import DataConfig
from weitiao.data.example import PROMPTS, Example, asked
from weitiao.data.load import load_data
from weitiao.data.writing.writing import row_writer
from weitiao.errors import DataError
from weitiao.evaluation.metrics.base import Item
from weitiao.feedback.exchange import preferred
from weitiao.feedback.items import Choice, PreferenceItem
from weitiao.feedback.sitting import is_person
from weitiao.feedback.store import FeedbackStore, Judgement, now
from weitiao.files import write_json
from weitiao.recipe import Recipe
from weitiao.recipe.feedback import FeedbackConfig, RewardJudgeConfig
from weitiao.rollouts.rewards import Rewards
from weitiao.study.compare.preferences import ask_model
from weitiao.study.dataset import Tell
from weitiao.study.drawing import sample_answers
from weitiao.study.pipeline.keys import Identities
from weitiao.study.rolling import scoring
from weitiao.study.setup import device_here

if TYPE_CHECKING:
    from rich.console import Console

FOLDER = "feedback"
STORE, KEY = "feedback.db", "key.json"
PARTS = ("train", "validation", "test")


def with_feedback(recipe: Recipe, *, console: Console, tell: Tell) -> Recipe:
    """The recipe whose rows are pairs of judged answers to the prompts of its own; they lie in the run directory.

    Training, validation and test rows keep their prompts. What is answered and judged already is not done again.

    Args:
        recipe: With `feedback`, and with `run_dir` set.
        console: Where progress goes.
        tell: Gets every line that a person should see.

    Raises:
        DataError: No pair of training rows has a winner.
        WeitiaoError: Rows, models or judges cannot be used.
    """
    config, run_dir = recipe.feedback, recipe.run_dir
    assert config is not None
    assert run_dir is not None, "load_recipe sets run_dir"
    folder = run_dir / FOLDER
    key = _key(recipe, config, FeedbackStore(folder / STORE))
    if not _is_kept(folder / KEY, key):
        data = load_data(recipe.data, rows=PROMPTS)
        parts = {part: rows for part in PARTS if (rows := getattr(data, part)[: config.limit])}
        (folder / KEY).unlink(missing_ok=True)
        _collect(recipe, config, parts, folder, console=console, tell=tell)
        write_json(folder / KEY, key)
    sources = {part: {"path": str(path.absolute())} for part in PARTS if (path := folder / f"{part}.jsonl").is_file()}
    collected = DataConfig.model_validate({**sources, "seed": recipe.data.seed, "on_bad_rows": "skip"})
    return recipe.model_copy(update={"data": collected, "feedback": None})


def _collect(
    recipe: Recipe,
    config: FeedbackConfig,
    parts: Mapping[str, Sequence[Example]],
    folder: Path,
    *,
    console: Console,
    tell: Tell,
) -> None:
    store = FeedbackStore(folder / STORE)
    examples = {one.row_id: one for rows in parts.values() for one in rows if asked(one)[0]}
    models = config.models or (recipe.model.name,)
    generation = config.generation.model_copy(update={"seed": recipe.train.seed})
    sample_answers(
        models, store, list(examples.values()), samples=config.samples, pairs=config.pairs, generation=generation,
        console=console, tell=tell,
    )  # fmt: skip
    items = [item for item, _, _ in store.pairs() if item.row_id in examples]
    names = [name for name in store.judges if is_person(name)]
    for judge in config.judges:
        if isinstance(judge, RewardJudgeConfig):
            names.append(judge.name)
            judge_by_rewards(judge, items, examples, store, tell)
        else:
            names.append(ask_model(judge, items, store, console)[0])
    part_of = {one.row_id: part for part, rows in parts.items() for one in rows}
    found: dict[str, list[dict[str, object]]] = {part: [] for part in parts}
    for pair in preferred(store, names):
        if (part := part_of.get(pair.item.row_id)) is not None:
            found[part].append(pair.row())
    for part, rows in found.items():
        path = folder / f"{part}.jsonl"
        path.unlink(missing_ok=True)
        if not rows:
            raise DataError(
                f"No pair of the {part} rows has a winner: the answers are the same, or the judges see no difference.",
                f"Ask for more samples, or for other judges; the answers are in {store.path}.",
            )
        with row_writer(path) as write:
            for row in rows:
                write(row)
    tell(f"feedback: {len(items):,} pairs of answers to {len(examples):,} prompts judged; with a winner: "
         + ", ".join(f"{part} {len(rows):,}" for part, rows in found.items()))  # fmt: skip


def judge_by_rewards(
    config: RewardJudgeConfig,
    items: Sequence[PreferenceItem],
    examples: Mapping[str, Example],
    store: FeedbackStore,
    tell: Tell,
) -> None:
    """Prefer of two answers the one with the higher reward; a pair with an answer that cannot be scored is passed over.

    Args:
        config: The judge.
        items: Pairs of answers.
        examples: Their rows, by id.
        store: Where the judgements go; what stands there is not asked again.
        tell: Gets a line where answers could not be scored.
    """
    known = {one.item_id for one in store.by(config.name)}
    left = [one for one in items if one.item_id not in known and not one.is_same]
    if not left:
        return
    rewards = Rewards(config.rewards)
    rewards.open_models(lambda name: scoring(name, device=device_here()))
    asked_of = {name: asked(one) for name, one in examples.items()}
    answers = [
        Item(answer, asked_of[one.row_id][1], one.messages, examples[one.row_id].columns, one.row_id)
        for one in left
        for answer in (one.a, one.b)
    ]
    scored = rewards.score(answers)
    faults = [fault for _, fault in scored if fault]
    if faults:
        tell(f"{config.name}: {len(faults):,} of {len(answers):,} answers could not be scored ({faults[0]})")
    judged = []
    for item, (a, b) in zip(left, zip(scored[::2], scored[1::2], strict=True), strict=True):
        if not (a[1] or b[1]):
            first, second = rewards.total(a[0]), rewards.total(b[0])
            lead = first - second
            choice: Choice = "tie" if abs(lead) <= config.tie else "a" if lead > 0 else "b"
            judged.append(Judgement(item.item_id, config.name, "ab", choice, now(), comment=f"{first:g}, {second:g}"))
    store.add(*judged)


def _is_kept(path: Path, key: Mapping[str, object]) -> bool:
    return path.is_file() and json.loads(path.read_text("utf-8")) == key


def _people(store: FeedbackStore) -> int:
    """Judgements of people, who may judge the same pairs (`weitiao feedback label`): theirs count beside the others."""
    return sum(is_person(one.judge) for one in store.judgements())


def _key(recipe: Recipe, config: FeedbackConfig, store: FeedbackStore) -> dict[str, object]:
    """What pairs depend on: prompts, who answers and how, and who judges; runs and files count by their content."""
    identities = Identities(recipe)
    return {
        "data": [identities.of(f"data.{part}") for part in PARTS],
        "model": None if config.models else identities.of("model"),
        "feedback": identities.of("feedback"),
        "seed": recipe.train.seed,
        "people": _people(store),
    }
