"""The teacher of a distillation: found and held against the rows, then in memory, or what was kept of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from weitiao.errors import ModelError, RunError
from weitiao.files import sha256
from weitiao.methods.base import base_model
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import final_tokenizer, find_final, open_model
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_config, load_tokenizer
from weitiao.models.parts import causal_model, context_length, require_embeddings, vocabulary_size
from weitiao.objectives.columns import with_columns
from weitiao.objectives.config import ObjectiveConfig
from weitiao.objectives.distill import ROW, Distill, Kept, Live
from weitiao.objectives.distill_config import DistillConfig
from weitiao.recipe import Recipe
from weitiao.rendering.items import Item, sequences_of
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import RenderedData, Tell
from weitiao.study.learner import choose_attention
from weitiao.study.prepared import Prepared
from weitiao.study.prompts import room_for_answers
from weitiao.study.reference import computed_by_all, write_columns
from weitiao.training.engine import Engine


@dataclass(frozen=True, slots=True)
class Teacher:
    """What `objective.teacher` names.

    Attributes:
        name: By which it is opened.
        config: How the model, or the base model of a run, is loaded.
        final: Where the weights of a run lie; None for a model.
        kept: Whether it is a file with what a teacher gave.
        weights: Hash of its weights, or of the file.
    """

    name: str
    config: ModelConfig
    final: Path | None
    kept: bool
    weights: str


def find_teacher(recipe: Recipe) -> Teacher | None:
    """The teacher of a recipe, its weights not loaded; None where the objective has none.

    Raises:
        WeitiaoError: There is no such thing.
    """
    if not isinstance(recipe.objective, DistillConfig):
        return None
    asked = recipe.objective.teacher
    if recipe.objective.from_file:
        if not (file := Path(asked.name)).is_file():
            raise ModelError(f"objective.teacher: there is no file {file}.", "Check the path.")
        return Teacher(asked.name, asked, None, True, sha256(file))
    config, final = _loaded(asked)
    return Teacher(asked.name, config, final, False, weights_hash(config, final))


def teacher_beside(objective: ObjectiveConfig) -> ModelConfig | None:
    """The teacher that is in memory while a model learns; of a run, its base model."""
    if not isinstance(objective, DistillConfig) or objective.top_k is not None or objective.from_file:
        return None
    return _loaded(objective.teacher)[0]


def _loaded(asked: ModelConfig) -> tuple[ModelConfig, Path | None]:
    """How a teacher, or the base of a run, is loaded (as the run does, but for what is said here); a run's weights."""
    if (final := find_final(asked.name)) is None:
        return asked, None
    said = {name: getattr(asked, name) for name in asked.model_fields_set - {"name"}}
    return base_model(final).model_copy(update=said), final


def with_teacher(fingerprint: str, teacher: Teacher | None) -> str:
    """The fingerprint of what a run begins with, its teacher included."""
    if teacher is None:
        return fingerprint
    return hashlib.sha256(f"{fingerprint}\n{teacher.weights}".encode()).hexdigest()[:16]


def require_teacher(teacher: Teacher | None, recipe: Recipe, data: RenderedData, tell: Tell) -> None:
    """Refuse a teacher that cannot read what the model reads, before weights are loaded.

    Raises:
        ModelError: Its tokens have other ids, by which distributions are compared; or rows have no room in it.
    """
    if teacher is None or teacher.kept:
        return
    final, config = teacher.final, teacher.config
    tokenizer = load_tokenizer(config) if final is None else final_tokenizer(final, config)
    theirs, own = ({index: token for token, index in one.get_vocab().items()} for one in (tokenizer, data.tokenizer))
    for index in sorted(theirs.keys() | own.keys()):
        if (one := theirs.get(index)) != (other := own.get(index)):
            raise ModelError(
                f"The teacher {teacher.name} has another tokenizer: token {index} is {one!r} there, {other!r} in the "
                "model.",
                "Choose a teacher of the same family, or learn from its answers as rows: objective=sft.",
            )
    if tokenizer.chat_template not in (None, data.tokenizer.chat_template):
        tell(f"The teacher {teacher.name} has another chat template; it reads what this training prints")
    room = context_length(load_config(config))
    longest = max(row.num_tokens for row in (*data.train, *data.validation)) + room_for_answers(recipe)
    if room is not None and longest > room:
        raise ModelError(
            f"The longest row takes {longest:,} tokens, and the teacher {teacher.name} has {room:,} positions.",
            "Lower rendering.max_length, or choose another teacher.",
        )


def teach(teacher: Teacher, prepared: Prepared, engine: Engine, run: RunDir, tell: Tell) -> Prepared:
    """Give the objective its teacher: in memory, or what is kept of it; items then say which of it is theirs.

    Raises:
        WeitiaoError: It cannot be run, or what was kept is of other rows.
    """
    recipe, objective, train = prepared.recipe, engine.objective, prepared.data.train
    settings, items = recipe.objective, (*train, *prepared.data.validation)
    assert isinstance(settings, DistillConfig)
    assert isinstance(objective, Distill)
    if settings.top_k is None and not teacher.kept:
        objective.teacher = _live(teacher, items, engine, recipe, tell)
        return prepared
    lengths = [one.num_learned for one in sequences_of(items)]
    made_from = {"rows": _rows_hash(items), "temperature": str(settings.temperature)}
    path = Path(teacher.name) if teacher.kept else run.teacher
    if settings.top_k is not None:
        in_format = f"{teacher.weights} {teacher.config.rounded(teacher.config.dtype)}"
        made_from |= {"teacher": in_format, "top_k": str(settings.top_k)}
        if sum(lengths) > 2**24:
            raise RunError(f"{sum(lengths):,} learned tokens are too many to be kept.", "Leave objective.top_k out.")
        if not engine.from_main(lambda: path.is_file() and not _differing(path, made_from)):
            _keep(teacher, items, engine, recipe, path, made_from, tell)
    elif differing := _differing(path, made_from):
        raise RunError(
            f"{path} was not kept for this training: {' and '.join(differing)} differ.",
            "Name the teacher itself, or give the data, rendering and objective.temperature that it was kept with.",
        )
    with safe_open(path, "pt") as file:  # of which the operating system reads what is needed
        objective.teacher = Kept(ids := file.get_tensor("ids"), file.get_tensor("logprobs"))
    if (most := int(ids.max())) >= (size := vocabulary_size(objective.model)):
        raise RunError(f"{path} has token {most}, and the model has {size:,} embeddings.", "Name the teacher itself.")
    places = np.split(np.arange(sum(lengths), dtype=np.float32), np.cumsum(lengths)[:-1])
    numbered = with_columns(items, [{ROW: one} for one in places])
    return prepared.with_items(numbered[: len(train)], numbered[len(train) :])


def _live(teacher: Teacher, items: Sequence[Item], engine: Engine, recipe: Recipe, tell: Tell) -> Live:
    """The teacher in memory, tried on a forest of the rows."""
    model = open_model(teacher.name, base=teacher.config, device=str(engine.accelerator.device)).model
    rows = sequences_of(items)
    require_embeddings(model, ((one.row_id, one.token_ids) for one in rows))
    line = choose_attention(recipe.model_copy(update={"model": teacher.config}), model, rows)
    dtype = str(causal_model(model).dtype).removeprefix("torch.")
    size = f"{sum(one.numel() for one in model.parameters()):,} parameters, {dtype}"
    tell(f"Teacher {teacher.name}: {size}{f'. {line}' if line else ''}")
    return Live(model)


def _keep(
    teacher: Teacher, items: Sequence[Item], engine: Engine, recipe: Recipe, path: Path,
    made_from: Mapping[str, str], tell: Tell,
) -> None:  # fmt: skip
    """Compute what the teacher gives the targets of all items, every rank its share, and write it."""
    start, live = time.perf_counter(), _live(teacher, items, engine, recipe, tell)
    how = int(made_from["top_k"]), float(made_from["temperature"]), vocabulary_size(engine.objective.model)
    found = computed_by_all(items, engine, recipe, live.model, lambda forest: live.likeliest(forest, *how))
    engine.on_main(lambda: write_columns(path, made_from, found))
    tell(f"What the teacher gives was computed in {time.perf_counter() - start:.1f} s, and is kept in {path}")


def _rows_hash(items: Sequence[Item]) -> str:
    """Changes when any token changes, or whether it is learned."""
    digest = hashlib.sha256()
    for one in sequences_of(items):
        digest.update(one.token_ids.tobytes() + (one.weights != 0).tobytes() + b"/")
    return digest.hexdigest()


def _differing(path: Path, made_from: Mapping[str, str]) -> list[str]:
    """What a kept teacher has other than is wanted."""
    try:
        with safe_open(path, "np") as file:
            known = file.metadata() or {}
    except SafetensorError as error:
        raise RunError(f"{path} is damaged: {error}.", "Remove it, or bring it back whole.") from error
    return [name for name, value in made_from.items() if known.get(name) != value]
