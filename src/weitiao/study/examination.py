"""What the exports of a run are asked: its held-out rows beside questions of our own, and what the tuned model says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from weitiao.data.load import DataSet
from weitiao.evaluation.task import Task
from weitiao.export.asking import alone, ask
from weitiao.export.make import Examination
from weitiao.export.questions import Heard, Questions, make_questions
from weitiao.export.torch_engine import open_tuned
from weitiao.files import write_json
from weitiao.machine.versions import COMPUTING, versions
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import final_tokenizer
from weitiao.recipe import Recipe
from weitiao.records import read_record
from weitiao.rendering.items import TokenSequence
from weitiao.study.dataset import Tell, model_context, render_part
from weitiao.study.task import askable, task_from_recipe

_TUNED_FILE = "exports-tuned.json"


def examine(
    recipe: Recipe, final: Path, data: DataSet, *, rows: int, largest_loss: float, tell: Tell
) -> tuple[Examination, str]:
    """What the exports are asked, with what the tuned model says.

    Args:
        recipe: With `run_dir` set.
        final: Its tuned weights.
        data: Its data.
        rows: Held-out rows that are asked, at most.
        largest_loss: What the metric may lose.
        tell: Gets every line that a person should see.

    Returns:
        The examination, and a digest of all of it that decides about an export.
    """
    tokenizer = final_tokenizer(final, recipe.model)
    task: Task | None = None
    if recipe.evaluate.graders and data.test and recipe.objective.answers:
        task = askable(task_from_recipe(recipe, data, sample=rows), recipe, [tokenizer], tell)
    learned: Sequence[TokenSequence] = ()
    if recipe.objective.rows().record == "answer" and not recipe.objective.writes:
        examples = task.gradable if task is not None else (data.test or data.validation)[:rows]
        learned = render_part(recipe, examples, tokenizer, "test", lambda line: None).sequences if examples else ()
    questions = make_questions(
        tokenizer,
        () if task is None else task.gradable,
        learned,
        max_new_tokens=recipe.evaluate.generation.max_new_tokens,
        max_context=model_context(recipe),
        threads=torch.get_num_threads(),
    )
    tuned = _tuned(recipe, final, questions, tell)
    digest = hashlib.sha256(repr((questions, largest_loss)).encode()).hexdigest()
    return Examination(replace(questions, stop_ids=frozenset(tuned.ends)), tuned, task, tokenizer, largest_loss), digest


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the tuned model said in an earlier call: it says the same to the same questions."""

    key: str
    heard: Heard


def _tuned(recipe: Recipe, final: Path, questions: Questions, tell: Tell) -> Heard:
    """What the tuned model says, asked now or in an earlier call."""
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    asked = repr((questions, weights_hash(recipe.model, final), versions(COMPUTING)))
    key, path = hashlib.sha256(asked.encode()).hexdigest(), recipe.run_dir / _TUNED_FILE
    if path.is_file():
        kept = read_record(_Kept, path, missing="", damaged=f"Remove {path}.")
        if kept.key == key:
            return kept.heard
    tell(f"Asking the tuned model: {len(questions.prompts):,} prompts, {len(questions.sequences):,} texts")
    heard = alone("The tuned model", ask, partial(open_tuned, base=recipe.model), final, questions)
    write_json(path, _Kept(key, heard))
    return heard
