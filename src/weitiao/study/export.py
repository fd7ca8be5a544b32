"""`weitiao export`: the tuned model of a run in the formats of other programs, each checked before it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from weitiao.errors import ModelError, RecipeError, WeitiaoError
from weitiao.evaluation.task import Task
from weitiao.export.asking import alone, ask
from weitiao.export.formats import Format
from weitiao.export.make import Examination, RefusedError, export_format, find_export, size_of
from weitiao.export.questions import Heard, Questions, make_questions
from weitiao.export.registry import parse_format
from weitiao.export.source import Source, working_directory
from weitiao.export.torch_engine import open_tuned
from weitiao.files import write_json
from weitiao.machine.hardware import detect_hardware
from weitiao.machine.versions import COMPUTING, versions
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import final_tokenizer, find_final
from weitiao.models.config import ModelConfig
from weitiao.models.names import resolve_model
from weitiao.recipe import Recipe
from weitiao.records import read_record
from weitiao.rendering.items import TokenSequence
from weitiao.runs.belonging import made_of
from weitiao.runs.run_dir import RunDir, locked_around
from weitiao.study.dataset import Tell, load_told, model_context, render_part
from weitiao.study.setup import set_threads
from weitiao.study.task import askable, task_from_recipe
from weitiao.verdict.exported import Exported, Exports, write_exports

AS_TRAINED = "as trained"
_TUNED_FILE = "exports-tuned.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an export is asked for.

    Attributes:
        formats: Names of formats.
        output: Where the directories go, one for each format; `export/` of the run directory if None.
        rows: Held-out rows that every export answers, at most.
        largest_loss: What the metric may lose by it.
        llama_cpp: A checkout of llama.cpp, instead of the packaged one.
    """

    formats: tuple[str, ...]
    output: Path | None = None
    rows: int = 200
    largest_loss: float = 0.02
    llama_cpp: Path | None = None


def export_run(recipe: Recipe, asked: Asked, tell: Tell) -> Exports:
    """Export the tuned model of a run, and measure what came out.

    Args:
        recipe: Of the run, with `run_dir` set.
        asked: What is wanted.
        tell: Gets every line that a person should see.

    Returns:
        What was measured, in the order of the formats; also in `exports.json` of the run directory.

    Raises:
        RecipeError: A format is unknown, or the run's model writes no text.
        WeitiaoError: Nothing could be exported; the first reason.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    if recipe.objective.gives_scores:
        raise RecipeError(
            f"{recipe.run_dir} is a reward model: it writes no text, and engines that do cannot run it.",
            "Use its directory final/ with transformers, or weitiao score.",
        )
    formats = [parse_format(name) for name in dict.fromkeys(asked.formats)]
    final = find_final(recipe.run_dir)
    assert final is not None, "a run directory has final weights, or says why not"
    output = asked.output or recipe.run_dir / "export"
    with locked_around(recipe.run_dir, "Wait for it.", run=RunDir(recipe.run_dir)), working_directory(output) as work:
        set_threads(recipe, detect_hardware())
        weights = weights_hash(recipe.model, final)
        new = [form for form in formats if find_export(output / form.name, weights) is None]
        check_formats(new, recipe.model, asked.llama_cpp)
        examination, digest = _examine(recipe, final, asked, tell)
        source = Source(
            final=final,
            base=recipe.model,
            weights=weights,
            ends=examination.questions.stop_ids,
            threads=torch.get_num_threads(),
            work=work,
            llama_cpp=asked.llama_cpp,
        )
        made = _make_all(source, formats, output, examination, digest, tell)
        exports = Exports(
            weights=source.weights,
            largest_loss=asked.largest_loss,
            num_rows=asked.rows,
            tuned=_as_trained(source, examination),
            models=tuple(made),
            of=made_of(recipe.run_dir, weights=source.weights),
        )
        write_exports(recipe.run_dir, exports)
    return exports


def check_formats(formats: Sequence[Format], base: ModelConfig, llama_cpp: Path | None = None) -> None:
    """Refuse, in seconds, formats in which a base model cannot be written.

    Raises:
        WeitiaoError: It cannot, or what it needs is not installed.
    """
    for check in dict.fromkeys(form.check for form in formats):
        check(resolve_model(base), llama_cpp)


def _make_all(
    source: Source, formats: Sequence[Format], output: Path, examination: Examination, digest: str, tell: Tell
) -> list[Exported]:
    """Each format in turn; one that cannot be made does not keep the others from it."""
    made, errors = list[Exported](), list[WeitiaoError]()
    for form in formats:
        tell(f"{form.name}: writing and asking it")
        try:
            made.append(
                export_format(
                    source, form, output / form.name, examination, examined=digest, card=lambda one: f"# {one.format}\n"
                )
            )
        except RefusedError as refused:
            made.append(refused.exported)
        except ModelError as error:
            errors.append(error)
            made.append(Exported(form.name, None, form.engine, "refused", f"{error.what} {error.remedy}"))
    if errors and len(errors) == len(formats):
        raise errors[0]
    return made


def _examine(recipe: Recipe, final: Path, asked: Asked, tell: Tell) -> tuple[Examination, str]:
    """What the exports are asked, with what the tuned model says; and a digest of it."""
    data = load_told(recipe, lambda line: None)
    tokenizer = final_tokenizer(final, recipe.model)
    task: Task | None = None
    if recipe.evaluate.graders and data.test and recipe.objective.answers:
        task = askable(task_from_recipe(recipe, data, sample=asked.rows), recipe, [tokenizer], tell)
    learned: Sequence[TokenSequence] = ()
    if recipe.objective.rows().record == "answer" and not recipe.objective.writes:
        examples = task.gradable if task is not None else (data.test or data.validation)[: asked.rows]
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
    digest = hashlib.sha256(repr((questions, asked.largest_loss)).encode()).hexdigest()
    return Examination(
        replace(questions, stop_ids=frozenset(tuned.ends)), tuned, task, tokenizer, asked.largest_loss
    ), digest


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


def _as_trained(source: Source, examination: Examination) -> Exported:
    """What the exports are held against: the adapter on its base model, or the whole tuned model."""
    tuned = examination.tuned
    base = size_of(resolve_model(source.base)) if source.is_adapter else 0
    return Exported(
        format=AS_TRAINED,
        path=source.final,
        engine="transformers",
        outcome="good",
        reason="what the others are held against",
        size_bytes=base + size_of(source.final),
        memory_bytes=tuned.memory_bytes,
        tokens_per_second=tuned.tokens_per_second,
        load_seconds=tuned.load_seconds,
    )
