"""The training that a run directory already holds: gone on with, adopted, or set aside. Never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path

from weitiao.errors import DataError, RunError
from weitiao.methods.note import read_note
from weitiao.methods.start import find_start
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.names import resolve_model
from weitiao.recipe import Recipe, differences, load_recipe, write_recipe
from weitiao.runs.record import Records, StepRecord
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import load_rendered
from weitiao.study.effects import CHANGEABLE
from weitiao.study.pipeline.keys import CHOSEN, Identities
from weitiao.study.resume import BY_CONTENT, filled_in, require_same_content, written_values
from weitiao.study.teacher import find_teacher, with_teacher
from weitiao.training.checkpoint import read_state

EARLIER = "earlier"
_OF_TRAINING = (
    "checkpoints",
    "losses",
    "rollouts",
    "reference",
    "teacher.safetensors",
    "metrics.jsonl",
    "rejected.jsonl",
    "environment.json",
    "start",
    "final",
)
# What decides what a training learns; the rest may differ in a run that is adopted.
_DECISIVE = ("model", "data", "rendering", "method", "objective", "optimizer", "train")
_INDIFFERENT = (*CHANGEABLE, *BY_CONTENT, "data.test")

Tell = Callable[[str], None]


def settle_training(
    recipe: Recipe, run: RunDir, records: Records, key: str, *, again: bool, of_results: Iterable[str], tell: Tell
) -> None:
    """Decide what becomes of the training in a run directory before anything new is done there.

    One with the wanted key stays, to be gone on with. One that `weitiao train`, or an earlier version of this program,
    made by the same recipe is adopted. Any other is moved to `earlier/NUMBER`.

    Args:
        recipe: The work that is asked for.
        run: The run directory.
        records: Of the steps; entries of what is moved away are removed.
        key: Of the training that is asked for.
        again: Whether it shall be done again in any case.
        of_results: Patterns of the files that are about the training: scores, predictions, verdict, report.
        tell: Gets the line that a person should see.
    """
    record = records.steps.get("train")
    if not _unfinished_move(run):
        if not _holds_training(run) or (record is not None and record.key == key and not again):
            return
        if not again and _is_training_of(recipe, run, recorded=record is not None):
            tell(f"Taking over the training that {run.path} holds: it is by this recipe and on this data")
            records.steps["train"] = StepRecord("started", key, {})
            records.save()
            return
    _set_aside(run, of_results, tell)
    records.steps.pop("train", None)
    records.save()


def left_open(recipe: Recipe, run: RunDir) -> Iterator[Recipe]:
    """The recipe with `auto` again for all or some of what it has in common with that of a run directory, and a
    training fills in.

    Whoever names the run directory gives its resolved recipe: it does not say what the recipe that was given first
    left open.
    """
    written = written_values(run)["train"] if run.recipe_path.exists() else {}
    same = [name for name in CHOSEN if written.get(name) == getattr(recipe.train, name)]
    for number in range(len(same), -1, -1):
        for names in combinations(same, number):
            train = recipe.train.model_copy(update=dict.fromkeys(names, "auto"))
            yield recipe.model_copy(update={"train": train})


def write_current_recipe(recipe: Recipe, run: RunDir) -> None:
    """Bring `recipe.yaml` up to date; what a training filled in for `auto` stays."""
    if run.recipe_path.exists():
        old = written_values(run)
        recipe = filled_in(recipe, old)
        if recipe.model_dump(mode="json", exclude={"run_dir"}) == old:
            return
    run.path.mkdir(parents=True, exist_ok=True)
    write_recipe(recipe, run.recipe_path)


def _holds_training(run: RunDir) -> bool:
    """Whether there is something that a training would go on with, or refuse to overwrite."""
    return run.final.exists() or bool(run.complete_checkpoints())


def _is_training_of(recipe: Recipe, run: RunDir, *, recorded: bool) -> bool:
    """Whether recipes agree in what decides a training, data in every token, and base models in their weights.

    One that is `recorded` has another key, so that only a checkpoint can prove that its data is the same, and nothing
    that code or another run is the same that it depends on.
    """
    if not run.recipe_path.exists() or (recorded and Identities(recipe).names_content()):
        return False
    try:
        old = load_recipe(run.path)
    except DataError:  # its data is not where it was, so nobody can say that it is the same
        return False
    values = written_values(run)
    recipe = filled_in(recipe, values)
    differing = differences(recipe, filled_in(old, values), ignore=_INDIFFERENT)
    decisive = {*_DECISIVE, "evaluate"} if recipe.train.validate_answers else set(_DECISIVE)
    decisive |= {"rollouts"} if recipe.objective.writes else set()
    if any(name.split(".", 1)[0] in decisive for name in differing):
        return False
    model = model_fingerprint(resolve_model(recipe.model))
    if (note := read_note(run.final)) is not None and note.fingerprint != model:
        return False
    checkpoints = run.complete_checkpoints()
    if not checkpoints:
        return not recorded
    state = read_state(checkpoints[-1])
    if (start := find_start(recipe.method.start, kept=run.start)) is not None:
        model = start.fingerprint(model)
    model = with_teacher(model, find_teacher(recipe))
    rendered = load_rendered(recipe, tell=lambda line: None)
    data = rendered.weighed(recipe, known=state.data_fingerprint)[0]
    try:
        require_same_content(state, data.fingerprint, data.validation_fingerprint, model, run=run)
    except RunError:
        return False
    return True


def _set_aside(run: RunDir, of_results: Iterable[str], tell: Tell) -> None:
    """Move a training and its results into a directory that is a run directory of its own.

    It has the ending `.part` until all is there, so that a call that was killed in the middle is completed by the next.
    """
    target = _unfinished_move(run) or _next(run)
    target.mkdir(parents=True, exist_ok=True)
    results = [path for pattern in of_results for path in sorted(run.path.glob(pattern))]
    for path in [*(run.path / name for name in _OF_TRAINING), *results, run.recipe_path]:
        if path.exists():
            place = target / path.relative_to(run.path)
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
    target.rename(target.with_suffix(""))
    tell(f"Another training is asked for: the earlier one and its results are kept in {target.with_suffix('')}")


def _unfinished_move(run: RunDir) -> Path | None:
    moves = sorted((run.path / EARLIER).glob("*.part"))
    return moves[0] if moves else None


def _next(run: RunDir) -> Path:
    numbers = [int(path.name) for path in (run.path / EARLIER).glob("*") if path.name.isdigit()]
    return run.path / EARLIER / f"{max(numbers, default=0) + 1:03d}.part"
