"""`weitiao export`: the tuned model of a run in the formats of other programs, each checked before it is done."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from weitiao.data.load import DataSet, load_data
from weitiao.errors import ModelError, RecipeError, RunError, WeitiaoError
from weitiao.export.card import CardFacts, card
from weitiao.export.formats import Format
from weitiao.export.make import Examination, RefusedError, export_format, find_export, size_of
from weitiao.export.registry import parse_format
from weitiao.export.source import Source, working_directory
from weitiao.forest.layout import common_prefix_length
from weitiao.machine.hardware import detect_hardware
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import find_final
from weitiao.models.config import ModelConfig
from weitiao.models.names import resolve_model
from weitiao.recipe import Recipe
from weitiao.rendering.items import TokenSequence
from weitiao.runs.belonging import made_of
from weitiao.runs.run_dir import RunDir, locked_around
from weitiao.study.card import card_facts
from weitiao.study.dataset import Tell, render_part
from weitiao.study.examination import examine
from weitiao.study.setup import set_threads
from weitiao.verdict.exported import EXPORTS_FILE, Exported, Exports, read_exports, write_exports

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LEARNED_ROWS, _LEARNED_TOKENS = 256, 20_000
AS_TRAINED = "as trained"
LADDER = ("gguf-q2_k", "gguf-q3_k_m", "gguf-q4_k_m", "gguf-q5_k_m", "gguf-q6_k", "gguf-q8_0", "gguf-f16")
"""What is tried from the smallest on, where the smallest good one is wanted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an export is asked for.

    Attributes:
        formats: Names of formats; `LADDER` if none, where the smallest good one is wanted.
        output: Where the directories go, one for each format; `export/` of the run directory if None.
        rows: Held-out rows that every export answers, at most.
        largest_loss: What the metric may lose by it.
        best_under: Only the smallest good one is kept, and it may have so many bytes at most; None keeps all.
        llama_cpp: A checkout of llama.cpp, instead of the packaged one.
    """

    formats: tuple[str, ...] = ()
    output: Path | None = None
    rows: int = 200
    largest_loss: float = 0.02
    best_under: int | None = None
    llama_cpp: Path | None = None


def export_run(recipe: Recipe, asked: Asked, tell: Tell) -> Exports:
    """Export the tuned model of a run, and measure what came out.

    Args:
        recipe: Of the run, with `run_dir` set.
        asked: What is wanted.
        tell: Gets every line that a person should see.

    Returns:
        What was measured, in the order of the formats. With what earlier calls measured of the same weights it is in
        `exports.json` of the run directory.

    Raises:
        RecipeError: A format is unknown, or the run's model writes no text.
        WeitiaoError: Nothing could be exported; the first reason.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    formats = formats_of(recipe, asked.formats or (LADDER if asked.best_under else ()))
    final = find_final(recipe.run_dir)
    assert final is not None, "a run directory has final weights, or says why not"
    output = (asked.output or recipe.run_dir / "export").resolve()  # what is noted holds from any directory
    with locked_around(recipe.run_dir, "Wait for it.", run=RunDir(recipe.run_dir)), working_directory(output) as work:
        set_threads(recipe, detect_hardware())
        weights = weights_hash(recipe.model, final)
        new = [form for form in formats if find_export(output / form.name, weights) is None]
        check_formats(new, recipe.model, asked.llama_cpp)
        data = load_data(recipe.data, rows=recipe.objective.rows())
        examination, digest = examine(recipe, final, data, rows=asked.rows, largest_loss=asked.largest_loss, tell=tell)
        source = Source(
            final=final,
            base=recipe.model,
            weights=weights,
            ends=examination.questions.stop_ids,
            threads=torch.get_num_threads(),
            work=work,
            rows=_learned_rows(recipe, data, examination.tokenizer),
            llama_cpp=asked.llama_cpp,
        )
        maker = _Maker(source, output, examination, digest, card_facts(recipe, data), tell)
        made = maker.all(formats) if asked.best_under is None else maker.smallest(formats, asked.best_under)
        exports = Exports(
            weights=weights,
            largest_loss=asked.largest_loss,
            num_rows=asked.rows,
            tuned=_as_trained(source, examination),
            models=tuple(made),
            of=made_of(recipe.run_dir, weights=weights),
        )
        write_exports(recipe.run_dir, _with_earlier(recipe.run_dir, exports))
    return exports


def formats_of(recipe: Recipe, names: Sequence[str]) -> list[Format]:
    """The formats of names, for the model of a recipe.

    Raises:
        RecipeError: A format is unknown, or the model writes no text.
    """
    if recipe.objective.gives_scores:
        raise RecipeError(
            "A reward model writes no text, and the engines of exported models do nothing else.",
            "Use final/ of the run with transformers, or weitiao score.",
        )
    return [parse_format(name) for name in dict.fromkeys(names)]


def check_formats(formats: Sequence[Format], base: ModelConfig, llama_cpp: Path | None = None) -> None:
    """Refuse, in seconds, formats in which a base model cannot be written.

    Raises:
        WeitiaoError: It cannot, or what it needs is not installed.
    """
    for check in dict.fromkeys(form.check for form in formats):
        check(resolve_model(base), llama_cpp)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the exports of one source, each in a directory of `output`."""

    source: Source
    output: Path
    examination: Examination
    digest: str
    facts: CardFacts
    tell: Tell

    def all(self, formats: Sequence[Format]) -> list[Exported]:
        """Each format in turn; one that cannot be made does not keep the others from it."""
        made, errors = list[Exported](), list[WeitiaoError]()
        for form in formats:
            try:
                made.append(self.one(form))
            except (ModelError, RunError) as error:
                errors.append(error)
                made.append(Exported(form.name, None, form.engine, "refused", f"{error.what} {error.remedy}"))
        if errors and len(errors) == len(formats):
            raise errors[0]
        return made

    def smallest(self, formats: Sequence[Format], limit_bytes: int) -> list[Exported]:
        """From the fewest bits on up to the first that is good; what was not good, or is too large, is not kept."""
        made = list[Exported]()
        for form in sorted(formats, key=lambda one: one.bits):
            there = (self.output / form.name).exists()
            found = self.one(form)
            fits = found.size_bytes <= limit_bytes
            if found.path is not None and not (found.outcome == "good" and fits):
                if not there:
                    shutil.rmtree(found.path)
                found = replace(found, path=found.path if there else None)
            made.append(found)
            if found.outcome == "good" or not fits:
                break
        return made

    def one(self, form: Format) -> Exported:
        """One format."""
        self.tell(f"{form.name}: writing it, and asking it in {form.engine}")
        name = self.output.name + "/" + form.name

        def describe(found: Exported, file: str) -> str:
            return card(self.facts, found, form.loading, directory=name, file=file)

        target = self.output / form.name
        try:
            return export_format(self.source, form, target, self.examination, examined=self.digest, describe=describe)
        except RefusedError as refused:
            return refused.exported


def _learned_rows(recipe: Recipe, data: DataSet, tokenizer: PreTrainedTokenizerBase) -> tuple[TokenSequence, ...]:
    """Rows that the model learned, from the whole of them, of so many tokens; a beginning that all have counts once."""
    examples = random.Random(0).sample(data.train, min(_LEARNED_ROWS, len(data.train)))
    sequences = render_part(recipe, examples, tokenizer, "train", lambda line: None).sequences
    found, left = list[TokenSequence](), _LEARNED_TOKENS
    for one in sequences:
        left -= len(one) - (common_prefix_length(found[0].token_ids, one.token_ids) if found else 0)
        if left < 0:
            break
        found.append(one)
    return tuple(found)


def _with_earlier(run: Path, exports: Exports) -> Exports:
    """With what earlier calls measured of the same weights by the same questions, and is still there."""
    if not (run / EXPORTS_FILE).is_file():
        return exports
    old = read_exports(run)
    if (old.weights, old.largest_loss, old.num_rows) != (exports.weights, exports.largest_loss, exports.num_rows):
        return exports
    again = {one.format for one in exports.models}
    kept = [one for one in old.models if one.format not in again and one.path is not None and one.path.is_dir()]
    return replace(exports, models=(*kept, *exports.models))


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
