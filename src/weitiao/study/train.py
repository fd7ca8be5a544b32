"""`weitiao train`: from a recipe to a run directory."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console
from transformers import PreTrainedModel

from weitiao.console import quoted
from weitiao.errors import RecipeError
from weitiao.files import check_whole, full_disk_is_named, write_json, written_whole
from weitiao.machine.hardware import Hardware, detect_hardware
from weitiao.methods.final import save_final
from weitiao.methods.method import Method
from weitiao.methods.note import Note
from weitiao.methods.start import find_start, require_start
from weitiao.models.alone import branches
from weitiao.models.attention import runs_alone
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.names import resolve_model
from weitiao.models.parts import decoder, require_embeddings
from weitiao.objectives.objective import Objective
from weitiao.recipe import Recipe, write_recipe
from weitiao.rendering.items import sequences_of
from weitiao.rendering.lengths import TextLength, TextLengths
from weitiao.rendering.templates import fixed_date
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import RenderedData, Tell, items_of_part
from weitiao.study.expected import Comparing, expect, keep_forecast
from weitiao.study.keeping import keeping_states, room_for_states
from weitiao.study.learner import adapt, load_base, make_optimizer
from weitiao.study.preflight import check_budget, check_disk, check_settings
from weitiao.study.prepared import Prepared, prepare
from weitiao.study.prompts import room_for_answers
from weitiao.study.reference import with_reference
from weitiao.study.resume import go_on, open_run, require_work, state_of
from weitiao.study.rolling import judging, make_rollouts
from weitiao.study.setup import describe, environment, make_accelerator, set_threads, start_trackers
from weitiao.study.task import answer_validation, validation_task
from weitiao.study.teacher import Teacher, find_teacher, require_teacher, teach, with_teacher
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import TrainingLine, teller
from weitiao.training.checkpoint import State, read_weights
from weitiao.training.engine import Engine, load_weights
from weitiao.training.engines import make_engine, require_whole_steps
from weitiao.training.interrupt import interruptible
from weitiao.training.loop import Loop
from weitiao.training.metrics import read_metrics
from weitiao.training.offload import offloading
from weitiao.training.progress import Watcher
from weitiao.training.router import add_router_losses
from weitiao.training.unmoved import require_moved
from weitiao.training.validation import AnswerValidation


@dataclass(frozen=True, slots=True)
class Run:
    """What a training left.

    Attributes:
        path: The run directory.
        finished: Whether it came to its end; an interrupted one goes on with `weitiao train PATH`.
        steps: Optimiser steps done.
        loss: Loss of the last step.
        best_validation_loss: None without validation data.
        seconds: Time in the loop, over all sessions of the run.
        tokens_per_second: Of the sequences, counted without sharing.
    """

    path: Path
    finished: bool
    steps: int
    loss: float
    best_validation_loss: float | None
    seconds: float
    tokens_per_second: float


def train(recipe: Recipe, *, console: Console | None = None, tell: Tell | None = None, force: bool = False) -> Run:
    """Train, or go on with, the run of a recipe.

    Args:
        recipe: With `run_dir` set.
        console: Where progress goes; stderr by default.
        tell: Gets every line that a person should see; printed on the console by default.
        force: Train also where the forecast says that there is not enough memory.

    Returns:
        What was reached. After Ctrl-C or SIGTERM `finished` is False and a checkpoint is there.

    Raises:
        WeitiaoError: Something the user can put right; the message says what.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    if recipe.feedback is not None:
        raise RecipeError("The rows of this recipe are judged answers, which are not there yet.", "Use `weitiao run`.")
    console = console or TextConsole(stderr=True)
    accelerator = make_accelerator(recipe)
    run = RunDir(recipe.run_dir)
    if not accelerator.is_main_process:
        return _train(recipe, run, accelerator, TextConsole(quiet=True), tell, force=force)
    with run.locked():
        return _train(recipe, run, accelerator, console, tell, force=force)


def _train(
    recipe: Recipe, run: RunDir, accelerator: Accelerator, console: Console, tell: Tell | None, *, force: bool
) -> Run:
    tell = tell or teller(console)
    recipe, state = open_run(recipe, run)
    hardware, device, main = detect_hardware(), accelerator.device, accelerator.is_main_process
    threads = set_threads(recipe, hardware)
    prepared = prepare(
        recipe,
        device,
        tell,
        known=state.data_fingerprint if state else None,
        rejected_path=run.rejected_path if main else None,
    )
    data, method, num_steps = prepared.data, prepared.method, prepared.num_steps
    fingerprint = model_fingerprint(resolve_model(recipe.model))
    start, teacher = find_start(recipe.method.start, kept=run.start if state else None), find_teacher(recipe)
    model_print = fingerprint if start is None else start.fingerprint(fingerprint)
    state = state_of(run, state, data, with_teacher(model_print, teacher))
    require_work(run, state, num_steps)
    asked, recipe, plan, budget = recipe, prepared.recipe, prepared.plan, prepared.plan.token_budget
    check_budget(
        (*data.train, *data.validation),
        budget,
        share_prefixes=recipe.train.share_prefixes,
        more=room_for_answers(recipe),
    )
    require_whole_steps(recipe.optimizer, data.train, recipe.train.batch_size, budget)
    check_settings(recipe.train, data, num_steps, tell)
    task = validation_task(recipe, data)
    require_start(start, method, recipe.model, fingerprint)
    require_teacher(teacher, recipe, data, tell)
    prepared, expected = expect(prepared, hardware, device, asked=asked, force=force, tell=tell)
    recipe, plan, budget = prepared.recipe, prepared.plan, prepared.plan.token_budget
    if start is not None and main:
        start = start.kept_in(run.start)
    model = load_base(recipe.model if start is None else start.source(recipe.model), method, device)
    require_embeddings(model, ((one.row_id, one.token_ids) for one in sequences_of((*data.train, *data.validation))))
    tell(describe(hardware, model, device, threads, budget))
    begun = adapt(recipe, method, model, start, data, None if state.step else plan, tell, run if main else None)
    if runs_alone(begun.model) and not branches(decoder(begun.model)):
        # a beginning that rows share is computed for each of them, and counts each time
        prepared = replace(prepared, plan=replace(prepared.plan, share_prefixes=False))
    objective = recipe.objective.build(begun.model)
    if line := add_router_losses(objective, recipe.train.router):
        tell(line)
    optimizer = make_optimizer(recipe, method, objective)
    answers = answer_validation(begun.model, data, task)
    engine = make_engine(recipe.train, recipe.optimizer, accelerator, objective, optimizer)
    engine.saving = offloading(recipe.train.offload_activations, objective, device, run.path)
    if state.step:
        go_on(recipe, run, state, engine, num_steps, tell)
    spare = engine.from_main(
        lambda: check_disk(run, objective, recipe.train, state, num_steps, best=bool(data.validation))
    )
    if main:
        with full_disk_is_named(str(run.path), "Free some space, or choose another run_dir."):
            _begin(recipe, run, model, hardware, data, state)
    watcher = TrainingLine(console) if expected is None else Comparing(console, expected, device.type)
    finished = _learn(prepared, engine, run, state, teacher, answers, watcher, spare, tell)
    if finished and (still := require_moved(objective, optimizer, steps=state.step)):
        tell(f"{len(still)} learned tensors did not move, though others of their kind did; {still[0]} is the first")
    if main and finished:
        _finish(recipe, run, method, objective, data, state, fingerprint, begun.below)
    if finished and expected is not None:
        keep_forecast(run, expected, engine, device.type)
    engine.end()
    return _result(run, state, finished=finished)


def _with_reference(
    prepared: Prepared, engine: Engine, run: RunDir, state: State, teacher: Teacher | None, tell: Tell
) -> Prepared:
    """The training with what its objective takes from a teacher, or from the model as the run begins it.

    Test rows have the latter kept, too.
    """
    recipe, data = prepared.recipe, prepared.data
    if teacher is not None:
        return teach(teacher, prepared, engine, run, tell)
    if not engine.objective.needs:
        return prepared
    assert state.model_fingerprint is not None, "objectives that need this are younger than fingerprints"
    add = partial(
        with_reference, engine=engine, recipe=recipe, run=run, model=state.model_fingerprint, tell=tell,
        begun=state.step > 0,
    )  # fmt: skip
    train, validation = add(data.train, "train"), add(data.validation, "validation")
    if data.data.test and state.step == 0:
        add(items_of_part(recipe, data.data.test, data.tokenizer, "test", tell), "test")
    return prepared.with_items(train, validation)


def _learn(
    prepared: Prepared,
    engine: Engine,
    run: RunDir,
    state: State,
    teacher: Teacher | None,
    answers: AnswerValidation | None,
    watcher: Watcher,
    spare_bytes: int,
    tell: Tell,
) -> bool:
    """Take the steps that are left; whether the run came to its end."""
    prepared = _with_reference(prepared, engine, run, state, teacher, tell)
    recipe, data, plan = prepared.recipe, prepared.data, prepared.plan
    room = room_for_states(prepared.method, plan, prepared.num_steps, spare_bytes, engine)
    room = room if prepared.rewards is None else 0  # answers never come again
    remedy = f"Free some space, then go on with: weitiao train {quoted(run.path)}"
    with (
        interruptible() as interrupt,
        full_disk_is_named(f"a file in {run.path}", remedy),
        keeping_states(engine, plan, run.path, room, tell),
    ):
        start_trackers(engine.accelerator, recipe)
        rollouts = make_rollouts(prepared, engine, run, state, interrupt, tell)
        loop = Loop(
            engine=engine,
            steps=rollouts or plan,
            sources=data.several_sources,
            num_steps=prepared.num_steps,
            validation=data.validation,
            text=TextLengths(data.tokenizer).per_weight(data.validation) if data.validation else TextLength(0, 0),
            answers=answers,
            judged=judging(rollouts) if rollouts else None,
            config=recipe.train,
            run=run,
            state=state,
            watcher=watcher,
            interrupt=interrupt,
        )
        return loop.run_to_end()


def _result(run: RunDir, state: State, *, finished: bool) -> Run:
    there = run.metrics_path.exists()  # not where a run was stopped while it wrote the first answers
    steps = [m for m in read_metrics(run.metrics_path) if "loss" in m] if there else []
    speed = state.num_tokens / state.seconds if state.seconds else 0.0
    loss = steps[-1]["loss"] if steps else math.nan
    return Run(run.path, finished, state.step, loss, state.best_loss, state.seconds, speed)


def _begin(
    recipe: Recipe, run: RunDir, model: PreTrainedModel, hardware: Hardware, data: RenderedData, state: State
) -> None:
    """Write what a run leaves before its first step. The result of one that was finished is put aside."""
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    dtype = str(model.dtype).removeprefix("torch.")
    write_recipe(recipe.model_copy(update={"model": recipe.model.model_copy(update={"dtype": dtype})}), run.recipe_path)
    day = fixed_date(data.tokenizer)
    write_json(run.environment_path, environment(hardware) | ({"date": day} if day else {}))
    if run.is_finished:
        aside = run.path / f"final-step-{state.step:08d}"
        shutil.rmtree(aside, ignore_errors=True)
        run.final.rename(aside)


def _finish(
    recipe: Recipe,
    run: RunDir,
    method: Method,
    objective: Objective,
    data: RenderedData,
    state: State,
    fingerprint: str,
    below: Path | None,
) -> None:
    """Write `final/`: the best weights if they are asked for and there are any, else the last."""
    if recipe.train.keep_best and state.best_step not in (None, state.step):
        check_whole(run.best)
        load_weights(objective, read_weights(run.best, objective))
    remedy = f"Free some space, then go on with: weitiao train {quoted(run.path)}"
    with full_disk_is_named(f"the final weights in {run.final}", remedy), written_whole(run.final) as directory:
        day = fixed_date(data.tokenizer)
        note = Note(
            base=recipe.model.name,
            fingerprint=fingerprint,
            revision=recipe.model.revision,
            method=recipe.method.type,
            template=recipe.rendering.template,
            date=str(day) if day else None,
        )
        save_final(directory, objective.model, data.tokenizer, method=method, note=note, below=below)
        objective.save(directory, data.tokenizer)
