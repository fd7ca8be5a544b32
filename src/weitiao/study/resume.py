"""What a run that goes on has to have in common with what it was started with: what training reads, and no more."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from weitiao.console import quoted
from weitiao.errors import Phrase, RunError
from weitiao.files import check_whole
from weitiao.recipe import Recipe, differences
from weitiao.recipe.reading import take_earlier
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import RenderedData, Tell
from weitiao.study.effects import CHANGEABLE
from weitiao.training.checkpoint import State, load_checkpoint, read_state
from weitiao.training.config import RouterConfig, TrainConfig
from weitiao.training.engine import Engine
from weitiao.training.schedule import learning_rate
from weitiao.yaml_text import read_yaml

# How a step is computed: the same up to rounding, except that two of them decide which numbers are drawn.
_SAME_UP_TO_ROUNDING = (
    "train.token_budget", "train.share_prefixes", "method.fused", "rollouts.generation.batch_size",
    "rollouts.generation.token_budget", "rollouts.generation.share_prefixes",
)  # fmt: skip
_DRAWN_BY = ("train.token_budget", "train.share_prefixes")
# Settings that hold from the next step on: how far to go, and which of the weights passed on the way are kept.
_FROM_NOW_ON = ("train.epochs", "train.max_steps", "train.validate_every", "train.patience", "train.keep_best")
BY_CONTENT = ("method.start", "objective.teacher.name")  # compared with the base model
# Sections that training reads. Of the data, its rendering and the base model, the content is compared instead.
_READ = ("method", "objective", "optimizer", "train")
_OF_ANSWERS = ("evaluate.metrics", "evaluate.generation", "evaluate.normalize")


def open_run(recipe: Recipe, run: RunDir) -> tuple[Recipe, State | None]:
    """Compare a recipe with the run that it is to go on with. A run without a checkpoint begins anew.

    Returns:
        The recipe that it goes on with (what it was asked for, and what was filled in for `auto` when it began), and
        the state of its newest checkpoint; None for a run that has none.

    Raises:
        RunError: The run was started with other settings that training reads, its newest checkpoint is damaged, or
            the folder holds a recipe that a person wrote.
    """
    require_own_recipe(run)
    checkpoints = run.complete_checkpoints()
    if not checkpoints or not run.recipe_path.exists():
        return recipe, None
    check_whole(checkpoints[-1])
    values = written_values(run)
    filled = filled_in(recipe, values)
    try:
        old = Recipe.model_validate(values)
    except ValidationError as error:
        raise RunError(
            f"{run.recipe_path} cannot be read: {error.errors()[0]['msg']}.", "Choose another run_dir."
        ) from error
    if changed := [name for name in differences(filled, filled_in(old, values)) if _matters(name, filled)]:
        raise RunError(
            Phrase("{run} was started with another recipe: {names} differ.", run=run.path, names=", ".join(changed)),
            Phrase(
                "Go on as it was started with `weitiao train {run}`, or choose another run_dir.", run=quoted(run.path)
            ),
        )
    return filled, read_state(checkpoints[-1])


def require_own_recipe(run: RunDir) -> None:
    """Refuse a folder with a recipe that a person wrote: the resolved one would take its place.

    Raises:
        RunError: `recipe.yaml` there is not a run's.
    """
    if not run.recipe_path.exists() or run.environment_path.exists():
        return
    values = written_values(run)
    if not isinstance(values, dict) or not Recipe.model_fields.keys() - {"run_dir"} <= values.keys():
        raise RunError(
            f"{run.recipe_path} was not written by a run: it would be overwritten.",
            "Choose a run_dir of its own, for instance one below that folder.",
        )


def written_values(run: RunDir) -> dict[str, Any]:
    """The recipe of a run as plain values: the files that it names may have been moved since."""
    values: dict[str, Any] = read_yaml(run.recipe_path)
    take_earlier(values)
    return values


def filled_in(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """A recipe with what a training chose for settings that it leaves open.

    Args:
        recipe: What is asked for.
        values: Of the recipe in the run directory. One that a training of an earlier version filled in has no
            `train.weigh`: there every learned token weighed the same; without `train.router`, no loss balanced experts.
    """
    model, train = recipe.model, recipe.train
    old = values["train"]
    if model.dtype == "auto":
        model = model.model_copy(update={"dtype": values["model"]["dtype"]})
    if train.token_budget == "auto":
        train = train.model_copy(update={"token_budget": old["token_budget"]})
    if train.weigh == "auto":
        earlier = "auto" if old["token_budget"] == "auto" else "tokens"
        train = train.model_copy(update={"weigh": old.get("weigh", earlier)})
    if train.precision == "auto":
        train = train.model_copy(update={"precision": old.get("precision", "weights")})
    if "router" not in old and train.router == RouterConfig():
        train = train.model_copy(update={"router": RouterConfig(balance=0.0)})
    return recipe.model_copy(update={"model": model, "train": train})


def state_of(run: RunDir, state: State | None, data: RenderedData, model: str) -> State:
    """The state of a run that is what it was started as, or that of a fresh one.

    Args:
        run: The run directory.
        state: Of its newest checkpoint; None where there is none.
        data: As it is now.
        model: Fingerprint of the base model as it is now, and of what the run begins with.

    Raises:
        RunError: Data or model differ, or the run is finished and has no checkpoint.
    """
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


def require_work(run: RunDir, state: State, num_steps: int) -> None:
    """Refuse a run that has done what it is asked for; one that was finished and is asked for more goes on.

    Raises:
        RunError: It has nothing to do, or has done more than that.
    """
    if num_steps < state.step:
        raise RunError(
            Phrase(
                "{run} has done {done:,} steps, and the recipe asks for {asked:,}.",
                run=run.path,
                done=state.step,
                asked=num_steps,
            ),
            "Ask for as many or more with train.epochs or train.max_steps, or choose another run_dir.",
        )
    if not run.is_finished:
        return
    if num_steps == state.step or (state.stopped_early and state.num_steps in (None, num_steps)):
        raise RunError(
            Phrase("{run} holds a finished run.", run=run.path),
            "Ask for more train.epochs (or train.max_steps) to go on with it, choose another run_dir, or remove it to "
            "train again.",
        )
    if state.stopped_early:
        state.stopped_early, state.num_bad_validations = False, 0


def require_same_content(state: State, data: str, validation: str, model: str, *, run: RunDir) -> None:
    """Compare the data and the base model of a run with what it was started with.

    Args:
        state: Of the run.
        data, validation, model: Fingerprints of what is there now.
        run: The run directory.

    Raises:
        RunError: Something differs.
    """
    back = "Bring the data back as it was"
    named = "Name the model that it was started with, wherever it lies now"
    for what, parts, then, now, remedy in (
        ("training data", "tokens", state.data_fingerprint, data, back),
        ("validation data", "tokens", state.validation_fingerprint, validation, back),
        ("teacher, base model or method.start", "weights", state.model_fingerprint, model, named),
    ):
        if then not in (None, now):
            raise RunError(
                f"The {what} is not what {run.path} was started with: its {parts} differ.",
                f"{remedy}, or start a new run with another run_dir.",
            )


def go_on(recipe: Recipe, run: RunDir, state: State, engine: Engine, num_steps: int, tell: Tell) -> None:
    """Put objective and optimiser where the newest checkpoint left them, and say so."""
    load_checkpoint(run.checkpoint(state.step), engine)
    tell(f"Going on after step {state.step} of {run.path}")
    if line := describe_length(recipe.train, state, num_steps):
        tell(line)


def describe_length(config: TrainConfig, state: State, num_steps: int) -> str | None:
    """What a changed number of steps means for the rest of a run; None when it has not changed."""
    if state.num_steps in (None, num_steps):
        return None
    assert state.num_steps is not None
    line = f"{num_steps:,} steps instead of {state.num_steps:,}"
    if config.schedule == "constant" or state.step >= num_steps:
        return line
    before = learning_rate(config, state.step - 1, state.num_steps)
    now = learning_rate(config, state.step, num_steps)
    return (
        f"{line}: the {config.schedule} schedule falls over all of them from now on, and the learning rate goes from "
        f"{before:.2g} at step {state.step:,} to {now:.2g} at the next"
    )


def _matters(name: str, recipe: Recipe) -> bool:
    """Whether a setting may not differ when a run goes on."""
    dropout = any("dropout" in key and value for key, value in recipe.method.model_dump().items())
    if name in _DRAWN_BY and (dropout or recipe.train.neftune is not None):
        return True
    if name in (*CHANGEABLE, *_SAME_UP_TO_ROUNDING, *_FROM_NOW_ON, *BY_CONTENT):
        return False
    if recipe.train.validate_answers and name.startswith(_OF_ANSWERS):
        return True
    section = name.split(".", 1)[0]
    return name == "model.dtype" or section in _READ or (section == "rollouts" and recipe.objective.writes)
