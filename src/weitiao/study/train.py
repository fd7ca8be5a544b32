"""`weitiao train`: from a recipe to a run directory."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from transformers import PreTrainedModel

from weitiao.console import quoted
from weitiao.errors import RecipeError, RunError
from weitiao.evaluation.answers import check_rows, prompts_of
from weitiao.evaluation.task import Task, evaluate
from weitiao.files import check_whole, full_disk_is_named, write_json, written_whole
from weitiao.forest.layout import Forest
from weitiao.forest.plan import Plan
from weitiao.machine.hardware import Hardware, detect_hardware
from weitiao.machine.memory import give_back_memory
from weitiao.methods.final import save_final
from weitiao.methods.fused.layer import num_fused
from weitiao.methods.method import Method
from weitiao.methods.note import Note
from weitiao.methods.open import final_tokenizer
from weitiao.methods.start import Begun, Start, begin, find_start, require_start
from weitiao.models.attention import FOREST, set_backend
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.host_weights import settle
from weitiao.models.load import load_model
from weitiao.models.names import resolve_model
from weitiao.models.noise import add_embedding_noise
from weitiao.models.parts import checkpoint_layers, require_embeddings, router_loss_left_out
from weitiao.models.probe import probe_forest
from weitiao.objectives.objective import Objective
from weitiao.recipe import Recipe, write_recipe
from weitiao.rendering.items import sequences_of
from weitiao.rendering.templates import fixed_date
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import RenderedData, Tell
from weitiao.study.expected import Comparing, expect, keep_forecast
from weitiao.study.keeping import keeping_states, room_for_states
from weitiao.study.preflight import attention_line, check_budget, check_disk, check_settings
from weitiao.study.prepared import in_format, prepare
from weitiao.study.resume import describe_length, open_run, require_same_content
from weitiao.study.rounding import state_rounding
from weitiao.study.setup import (
    describe,
    environment,
    make_accelerator,
    require_trainable_dtype,
    set_threads,
    start_trackers,
)
from weitiao.study.task import askable, task_from_recipe
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import TrainingLine, teller
from weitiao.training.checkpoint import State, load_checkpoint, read_weights
from weitiao.training.engine import Engine, learned_parameters, load_weights
from weitiao.training.engines import make_engine, require_whole_steps
from weitiao.training.interrupt import interruptible
from weitiao.training.loop import Loop
from weitiao.training.metrics import read_metrics
from weitiao.training.offload import offloading
from weitiao.training.unmoved import require_moved
from weitiao.training.validation import AnswerValidation

_LOOKED_AT = 16
"""Steps whose data a method may look at before the first."""


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
    hardware = detect_hardware()
    threads = set_threads(recipe, hardware)
    device = accelerator.device
    main = accelerator.is_main_process
    prepared = prepare(
        recipe,
        device,
        tell,
        known=state.data_fingerprint if state else None,
        rejected_path=run.rejected_path if main else None,
    )
    data, method, num_steps = prepared.data, prepared.method, prepared.num_steps
    fingerprint = model_fingerprint(resolve_model(recipe.model))
    start = find_start(recipe.method.start, kept=run.start if state else None)
    state = _state(run, state, data, fingerprint if start is None else start.fingerprint(fingerprint))
    _require_work(run, state, num_steps)
    asked, recipe, plan, budget = recipe, prepared.recipe, prepared.plan, prepared.plan.token_budget
    check_budget((*data.train, *data.validation), budget, share_prefixes=recipe.train.share_prefixes)
    require_whole_steps(recipe.optimizer, data.train, recipe.train.batch_size, budget)
    check_settings(recipe.train, data, num_steps, tell)
    task = _validation_task(recipe, data)
    require_start(start, method, recipe.model, fingerprint)
    prepared, expected = expect(prepared, hardware, device, asked=asked, force=force, tell=tell)
    recipe, plan, budget = prepared.recipe, prepared.plan, prepared.plan.token_budget
    if start is not None and main:
        start = start.kept_in(run.start)
    model = _load_base(recipe.model if start is None else start.source(recipe.model), method, device)
    require_embeddings(model, ((one.row_id, one.token_ids) for one in sequences_of((*data.train, *data.validation))))
    tell(describe(hardware, model, device, threads, budget))
    begun = _adapt(recipe, method, model, start, data, None if state.step else plan, tell, run if main else None)
    objective = recipe.objective.build(begun.model)
    groups = [*method.groups(begun.model), *_of_objective(objective)]
    optimizer = recipe.optimizer.build(groups, begun.model, learning_rate=recipe.train.learning_rate)
    answers = _answer_validation(begun.model, data, task)
    engine = make_engine(recipe.train, recipe.optimizer, accelerator, objective, optimizer)
    engine.saving = offloading(recipe.train.offload_activations, objective, device, run.path)
    if state.step:
        _go_on(recipe, run, state, engine, num_steps, tell)
    spare = engine.from_main(
        lambda: check_disk(run, objective, recipe.train, state, num_steps, best=bool(data.validation))
    )
    if main:
        with full_disk_is_named(str(run.path), "Free some space, or choose another run_dir."):
            _begin(recipe, run, model, hardware, data, state)
    remedy = f"Free some space, then go on with: weitiao train {quoted(run.path)}"
    with (
        interruptible() as interrupt,
        full_disk_is_named(f"a file in {run.path}", remedy),
        keeping_states(engine, plan, run.path, room_for_states(method, plan, num_steps, spare, engine), tell),
    ):
        start_trackers(accelerator, recipe)
        loop = Loop(
            engine=engine,
            steps=replace(plan, items=objective.prepare(plan.items)),
            sources=data.several_sources,
            num_steps=num_steps,
            validation=objective.prepare(data.validation),
            answers=answers,
            config=recipe.train,
            run=run,
            state=state,
            watcher=TrainingLine(console) if expected is None else Comparing(TrainingLine(console), expected),
            interrupt=interrupt,
        )
        finished = loop.run_to_end()
    if finished and (still := require_moved(objective, optimizer, steps=state.step)):
        tell(f"{len(still)} learned tensors did not move, though others of their kind did; {still[0]} is the first")
    if main and finished:
        _finish(recipe, run, method, objective, data, state, fingerprint, begun.below)
        if expected is not None:
            keep_forecast(run, expected, [line["seconds"] for line in read_metrics(run.metrics_path) if "loss" in line])
    engine.end()
    return _result(run, state, finished=finished)


def _first_forests(plan: Plan) -> list[Forest]:
    return [forest for index in range(_LOOKED_AT) for forest in plan.step(index).forests]


def _go_on(recipe: Recipe, run: RunDir, state: State, engine: Engine, num_steps: int, tell: Tell) -> None:
    """Put objective and optimiser where the newest checkpoint left them, and say so."""
    load_checkpoint(run.checkpoint(state.step), engine)
    tell(f"Going on after step {state.step} of {run.path}")
    if line := describe_length(recipe.train, state, num_steps):
        tell(line)


def _load_base(config: ModelConfig, method: Method, device: torch.device) -> PreTrainedModel:
    """The model that a method is put into, in a number format that it can learn in."""
    model = load_model(in_format(config, method), attention=FOREST, device=device, options=method.load_options())
    give_back_memory()
    require_trainable_dtype(model.dtype)
    return model


def _adapt(
    recipe: Recipe,
    method: Method,
    model: PreTrainedModel,
    start: Start | None,
    data: RenderedData,
    plan: Plan | None,
    tell: Tell,
    run: RunDir | None,
) -> Begun:
    """The model with what learns in it, tried on a forest of its own rows; with the plan of a run that begins."""
    rows = sequences_of((*data.train, *data.validation))
    if line := attention_line(recipe, model, rows):
        tell(line)
    if plan is not None:
        state_rounding(recipe, model, data.validation, tell, metrics=run.metrics_path if run else None)
    begun = begin(method, model, start, seed=recipe.train.seed)
    adapted = begun.model
    settle(adapted)
    if plan is not None:
        method.initialize(adapted, base=recipe.model, forests=partial(_first_forests, plan))
    if start is not None:
        tell(f"{begun.said}")
        if final_tokenizer(start.directory, recipe.model).chat_template != data.tokenizer.chat_template:
            tell(f"{start.name} was trained with another chat template than this training prints")
    checkpoint_layers(model, int(recipe.train.checkpointing))
    longest = max(row.num_inputs for row in rows)
    share = recipe.train.share_prefixes
    probe_forest(adapted, [row.token_ids for row in rows[:4]], longest=longest, share_prefixes=share)
    set_backend(adapted, recipe.model.attention)
    if recipe.train.neftune is not None:
        add_embedding_noise(adapted, recipe.train.neftune)
    if (coefficient := router_loss_left_out(model)) is not None:
        tell(
            f"mixture of experts: the router's auxiliary loss (router_aux_loss_coef={coefficient:g}) is not added to "
            "the loss"
        )
    learned = sum(p.numel() for p in learned_parameters(adapted).values())
    every = sum(p.numel() for p in adapted.parameters())
    # they compute in float32 and in blocks alone
    fuses = recipe.train.precision == "weights" and recipe.model.attention in ("auto", "blocks")
    fused = num_fused(adapted) if fuses else 0
    tell(f"{learned:,} of {every:,} parameters learn" + (f"; {fused} fused layers" if fused else ""))
    return begun


def _result(run: RunDir, state: State, *, finished: bool) -> Run:
    steps = [m for m in read_metrics(run.metrics_path) if "loss" in m]
    speed = state.num_tokens / state.seconds if state.seconds else 0.0
    return Run(run.path, finished, state.step, steps[-1]["loss"], state.best_loss, state.seconds, speed)


def _state(run: RunDir, state: State | None, data: RenderedData, model: str) -> State:
    """The state of a run that is what it was started as, or that of a fresh one."""
    prints = data.fingerprint, data.validation_fingerprint, model
    if state is None:
        if run.is_finished:
            raise RunError(
                f"{run.path} holds a finished run, and no checkpoint to go on from.", "Choose another run_dir."
            )
        return State(*prints)
    require_same_content(state, *prints, run=run)
    state.validation_fingerprint, state.model_fingerprint = prints[1:]
    return state


def _require_work(run: RunDir, state: State, num_steps: int) -> None:
    """Refuse a run that has done what it is asked for; one that was finished and is asked for more goes on."""
    if num_steps < state.step:
        raise RunError(
            f"{run.path} has done {state.step:,} steps, and the recipe asks for {num_steps:,}.",
            "Ask for as many or more with train.epochs or train.max_steps, or choose another run_dir.",
        )
    if not run.is_finished:
        return
    if num_steps == state.step or (state.stopped_early and state.num_steps in (None, num_steps)):
        raise RunError(
            f"{run.path} holds a finished run.",
            "Ask for more train.epochs (or train.max_steps) to go on with it, choose another run_dir, or remove it to "
            "train again.",
        )
    if state.stopped_early:
        state.stopped_early, state.num_bad_validations = False, 0


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


def _validation_task(recipe: Recipe, data: RenderedData) -> Task | None:
    """What a validation asks the model; None when the recipe does not want answers."""
    if not recipe.train.validate_answers:
        return None
    task = task_from_recipe(recipe, data.data, part="validation", sample=recipe.train.validate_answers)
    task = askable(task, recipe, [data.tokenizer], lambda line: None)  # said when the rows were rendered
    if not task.examples:
        raise RecipeError(
            "train.validate_answers: no validation row has an answer to compare with.",
            "Set data.validation to rows that have one, or train.validate_answers to 0.",
        )
    check_rows(task.examples, task.metrics)
    return task


def _answer_validation(model: torch.nn.Module, data: RenderedData, task: Task | None) -> AnswerValidation | None:
    """What lets the model answer the task; its prompts are tried now."""
    if task is None:
        return None
    prompts_of(data.tokenizer, task.gradable, room_in=model)

    def scores(model: torch.nn.Module) -> dict[str, float]:
        return {name: one.value for name, one in evaluate(model, data.tokenizer, task).scores.metrics.items()}

    return AnswerValidation(task.metrics[0].title, scores)


def _of_objective(objective: Objective) -> list[dict[str, Any]]:
    """The parameter group of what an objective itself learns, its heads for instance; none for most."""
    own = [p for name, p in learned_parameters(objective).items() if not name.startswith("model.")]
    return [{"params": own}] if own else []


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
