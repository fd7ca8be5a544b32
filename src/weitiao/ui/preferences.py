"""A project that learns from the preferences of a store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from weitiao.errors import WeitiaoError
from weitiao.feedback.store import FeedbackStore
from weitiao.records import first_problem
from weitiao.ui.problems import UiError
from weitiao.ui.recipes import begin, read, replace
from weitiao.ui.workspace import Workspace
from weitiao.yaml_text import read_yaml

FILE = "preferences.jsonl"


class NewProject(BaseModel, extra="forbid"):
    """What is made of preferences.

    Attributes:
        name: Of the project.
        model: What learns from them: a run of this folder, or a model.
        objective: `dpo`, or `reward` for a reward model.
    """

    name: Annotated[str, Field(max_length=80)]
    model: Annotated[str, Field(min_length=1, max_length=1000)]
    objective: Literal["dpo", "reward"]


def make_project(workspace: Workspace, store: FeedbackStore, new: NewProject) -> str:
    """Make it; its name.

    Raises:
        WeitiaoError: No pair has a winner, or the name or the model cannot be used; nothing is left behind then.
    """
    from weitiao.study.feedback import export_feedback
    from weitiao.study.init.content import scalar

    learner = _learner(workspace.inside(new.model), new)
    sections = {
        **learner,
        "data": {"train": f"data/{FILE}", "validation": 0.1, "test": 0.1},
        "objective": {"type": new.objective},
    }
    text = "".join(f"{name}: {scalar(value)}\n" for name, value in sections.items())
    project = workspace.new_project(new.name)
    try:
        export_feedback(store, project.data / FILE, form="preference")
        begin(project, learner["model"])
        head = f"# From {workspace.name_of(store.path)}: rows with `chosen` and `rejected`.\n"
        replace(project, head + text, read(project).etag)
    except WeitiaoError:
        shutil.rmtree(project.path)
        raise
    return project.name


def _learner(path: Path, new: NewProject) -> dict[str, Any]:
    """What learns: a model; the base of an adapter, with which DPO goes on; or the weights of a whole tuned model."""
    from weitiao.methods.adapter import ADAPTER_CONFIG
    from weitiao.methods.base import base_model
    from weitiao.methods.config import MethodConfig
    from weitiao.methods.open import find_final

    final = find_final(path) if path.is_dir() else None
    if final is None:
        return {"model": str(path) if path.exists() else new.model}
    if not (final / ADAPTER_CONFIG).is_file():
        return {"model": str(final)}
    base = base_model(final).name
    if new.objective == "reward":
        return {"model": base}
    recipe = path / "recipe.yaml"
    values = read_yaml(recipe) if recipe.is_file() else None
    written = values.get("method") if isinstance(values, dict) else None
    if not written:
        return {"model": base, "method": {"start": str(path)}}
    try:
        method = TypeAdapter(MethodConfig).validate_python(written)
    except ValidationError as error:
        what = f"{recipe}: its method is none ({first_problem(error)})."
        raise UiError(what, "Name another run, or a model.", field="model") from error
    settings = method.model_dump(mode="json", exclude_defaults=True)
    return {"model": base, "method": {"type": method.type, **settings, "start": str(path)}}
