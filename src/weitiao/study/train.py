"""`weitiao train`: from a recipe to a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from transformers import PreTrainedModel

from weitiao.errors import RecipeError, RunError
from weitiao.evaluation.answers import check_rows
from weitiao.evaluation.task import evaluate
from weitiao.forest.plan import Plan
from weitiao.hardware import detect_hardware
from weitiao.methods.adapter import save_adapter
from weitiao.models.attention import FOREST
from weitiao.models.embeddings import require_embeddings
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import load_model
from weitiao.models.names import resolve_model
from weitiao.models.parts import router_loss_left_out
from weitiao.models.probe import probe_forest
from weitiao.recipe import Recipe, differences, load_recipe, write_recipe
from weitiao.rendering.sequence import Sequence
from weitiao.rendering.templates import fixed_date
from weitiao.study.dataset import RenderedData, Tell, load_rendered, model_context
from weitiao.study.setup import (
    describe,
    environment,
    make_accelerator,
    require_trainable_dtype,
    set_threads,
    start_trackers,
)
from weitiao.study.task import askable, task_from_recipe
from weitiao.terminal import TextConsole, quoted
from weitiao.training.checkpoint import State, learned_parameters, load_checkpoint, load_weights
from weitiao.training.files import check_whole, full_disk_is_named, write_json, written_whole
from weitiao.training.interrupt import Interrupt, interruptible
from weitiao.training.loop import Loop
from weitiao.training.metrics import read_metrics
from weitiao.training.progress import PlainLines, watcher
from weitiao.training.run_dir import RunDir
from weitiao.training.schedule import total_steps
from weitiao.training.unmoved import require_moved
from weitiao.training.validation import AnswerValidation

# Settings that may differ when a run goes on: none of them changes the result.
CHANGEABLE = (
    "run_dir", "train.token_budget", "train.save_every", "train.keep_checkpoints", "train.trackers", "train.threads",
)  # fmt: skip
AUTO_TOKEN_BUDGET = {"cpu": 2048, "cuda": 8192}


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


def train(recipe: Recipe, *, console: Console | None = None, tell: Tell | None = None) -> Run:
    """Train, or go on with, the run of a recipe.

    Args:
        recipe: With `run_dir` set.
        console: Where progress goes; stderr by default.
        tell: Gets every line that a person should see; printed on the console by default.

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
        return _train(recipe, run, accelerator, TextConsole(quiet=True), tell)
    with run.locked():
        return _train(recipe, run, accelerator, console, tell)


def _train(recipe: Recipe, run: RunDir, accelerator: Accelerator, console: Console, tell: Tell | None) -> Run:
    tell = tell or PlainLines(console).message
    if run.is_finished:
        raise RunError(f"{run.path} holds a finished run.", "Choose another run_dir, or remove it to train again.")
    if run.recipe_path.exists():
        _require_same(recipe, run)
    hardware = detect_hardware()
    threads = set_threads(recipe, hardware)
    device = accelerator.device
    model = load_model(recipe.model, attention=FOREST, device=device)
    require_trainable_dtype(model.dtype)
    main = accelerator.is_main_process
    data = load_rendered(
        recipe,
        max_context=model_context(recipe),
        tell=tell,
        rejected_path=run.rejected_path if main else None,
    )
    require_embeddings(model, ((one.row_id, one.token_ids) for one in (*data.train, *data.validation)))
    budget = token_budget(recipe, (*data.train, *data.validation), device)
    tell(describe(hardware, model, device, threads, budget))
    method = recipe.method.build()
    adapted = method.apply(model, seed=recipe.train.seed)
    fused = method.fuse(adapted) if recipe.train.fused and device.type == "cpu" and model.dtype == torch.float32 else 0
    rows = (*data.train, *data.validation)
    longest = max(len(row.inputs) for row in rows)
    probe_forest(
        adapted, [row.token_ids for row in rows[:4]], longest=longest, share_prefixes=recipe.train.share_prefixes
    )
    if main:
        with full_disk_is_named(str(run.path), "Free some space, or choose another run_dir."):
            run.checkpoints.mkdir(parents=True, exist_ok=True)
            write_recipe(_resolved(recipe, model, budget), run.recipe_path)
            day = fixed_date(data.tokenizer)
            write_json(run.environment_path, environment(hardware) | ({"date": day} if day else {}))
    fingerprint = model_fingerprint(resolve_model(recipe.model))
    if (share := router_loss_left_out(model)) is not None:
        tell(
            f"mixture of experts: the router's auxiliary loss (router_aux_loss_coef={share:g}) is not added to the loss"
        )
    learned = sum(p.numel() for p in learned_parameters(adapted).values())
    tell(f"{learned:,} of {adapted.num_parameters():,} parameters learn" + (f"; {fused} fused layers" if fused else ""))
    objective = recipe.objective.build(adapted)
    optimizer = torch.optim.AdamW(
        learned_parameters(objective).values(),
        lr=recipe.train.learning_rate,
        betas=recipe.train.betas,
        eps=recipe.train.epsilon,
        weight_decay=recipe.train.weight_decay,
        fused=True,
    )
    state = _resume(run, objective, optimizer, data.fingerprint, tell)
    wrapped, prepared = accelerator.prepare(objective, optimizer)
    plan = Plan(data.train, recipe.train.batch_size, budget, recipe.train.share_prefixes, recipe.train.seed)
    with interruptible() as interrupt:
        start_trackers(accelerator, recipe)
        loop = _loop(recipe, run, accelerator, wrapped, prepared, plan, data, state, interrupt, console)
        finished = loop.run_to_end()
    if finished and (still := require_moved(objective, optimizer, steps=state.step)):
        tell(f"{len(still)} learned tensors did not move, though others of their kind did; {still[0]} is the first")
    if main and finished:
        _finish(recipe, run, objective, data, state, fingerprint)
    accelerator.wait_for_everyone()
    accelerator.end_training()  # ends the trackers, and leaves the process group
    steps = [m for m in read_metrics(run.metrics_path) if "loss" in m]
    speed = state.num_tokens / state.seconds if state.seconds else 0.0
    return Run(run.path, finished, state.step, steps[-1]["loss"], state.best_loss, state.seconds, speed)


def _loop(
    recipe: Recipe,
    run: RunDir,
    accelerator: Accelerator,
    objective: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    data: RenderedData,
    state: State,
    interrupt: Interrupt,
    console: Console,
) -> Loop:
    return Loop(
        accelerator=accelerator,
        objective=objective,
        optimizer=optimizer,
        plan=plan,
        num_steps=total_steps(recipe.train, plan.steps_per_epoch),
        validation=data.validation,
        answers=_answer_validation(recipe, data),
        config=recipe.train,
        run=run,
        state=state,
        watcher=watcher(console),
        interrupt=interrupt,
    )


def _answer_validation(recipe: Recipe, data: RenderedData) -> AnswerValidation | None:
    """What a validation lets the model answer; None when the recipe does not ask for it."""
    if not recipe.train.validate_answers:
        return None
    task = task_from_recipe(recipe, data.data, part="validation", sample=recipe.train.validate_answers)
    task = askable(task, recipe, data.tokenizer, lambda line: None)  # said when the rows were rendered
    if not task.examples:
        raise RecipeError(
            "train.validate_answers: no validation row has an answer to compare with.",
            "Set data.validation to rows that have one, or train.validate_answers to 0.",
        )
    check_rows(task.examples, task.metrics)

    def scores(model: torch.nn.Module) -> dict[str, float]:
        return {name: one.value for name, one in evaluate(model, data.tokenizer, task).scores.metrics.items()}

    return AnswerValidation(task.metrics[0].name, scores)


def _finish(
    recipe: Recipe, run: RunDir, objective: torch.nn.Module, data: RenderedData, state: State, fingerprint: str
) -> None:
    """Write `final/`: the best weights if they are asked for and there are any, else the last."""
    if recipe.train.keep_best and state.best_step not in (None, state.step):
        check_whole(run.best)
        load_weights(run.best, objective)
    remedy = f"Free some space, then go on with: weitiao train {quoted(run.path)}"
    with full_disk_is_named(f"the final weights in {run.final}", remedy), written_whole(run.final) as directory:
        save_adapter(
            directory,
            objective.model,
            data.tokenizer,
            base=recipe.model.name,
            fingerprint=fingerprint,
            revision=recipe.model.revision,
        )


def _resume(
    run: RunDir, objective: torch.nn.Module, optimizer: torch.optim.Optimizer, fingerprint: str, tell: Tell
) -> State:
    """The state of the newest checkpoint, or that of a fresh run."""
    checkpoints = run.complete_checkpoints()
    if not checkpoints:
        return State(data_fingerprint=fingerprint)
    state = load_checkpoint(checkpoints[-1], objective, optimizer)
    if state.data_fingerprint != fingerprint:
        raise RunError(
            f"The training data is not what {run.path} was started with: its tokens differ.",
            "Bring the data back as it was, or start a new run with another run_dir.",
        )
    tell(f"Going on after step {state.step} of {run.path}")
    return state


def _require_same(recipe: Recipe, run: RunDir) -> None:
    changed = differences(recipe, load_recipe(run.path), ignore=CHANGEABLE)
    changed = [name for name in changed if name != "model.dtype" or recipe.model.dtype != "auto"]
    if changed:
        raise RunError(
            f"{run.path} was started with another recipe: {', '.join(changed)} differ.",
            f"Go on as it was started with `weitiao train {quoted(run.path)}`, or choose another run_dir.",
        )


def _resolved(recipe: Recipe, model: PreTrainedModel, budget: int) -> Recipe:
    """The recipe with every choice that was left open filled in."""
    dtype = str(model.dtype).removeprefix("torch.")
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"dtype": dtype}),
            "train": recipe.train.model_copy(update={"token_budget": budget}),
        }
    )


def token_budget(recipe: Recipe, sequences: tuple[Sequence, ...], device: torch.device) -> int:
    """The recipe's budget; when left open, the device's usual one, or the longest sequence if that is more."""
    if isinstance(recipe.train.token_budget, int):
        return recipe.train.token_budget
    return max(AUTO_TOKEN_BUDGET.get(device.type, 2048), *map(len, sequences))
