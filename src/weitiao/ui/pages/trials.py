"""Prompts tried by hand: a server of models answers a few rows, in words that are not saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from weitiao.baseline.config import Selection
from weitiao.ui import recipes
from weitiao.ui.context import Ui
from weitiao.ui.pages.playground import base_target
from weitiao.ui.problems import UiError
from weitiao.ui.servers import Server, Servers
from weitiao.ui.versions import drafted, source_at, with_other_meaning

if TYPE_CHECKING:
    from weitiao.recipe import Recipe

Words = Annotated[str, Field(max_length=100_000)]


class Trial(BaseModel, extra="forbid"):
    """A prompt to try.

    Attributes:
        prompt, system: Templates over the columns of a row; what the recipe has, where they are None.
        shots: Solved training examples before the question.
        selection: Which.
        num: Rows to ask.
    """

    prompt: Words | None = None
    system: Words | None = None
    shots: int = Field(default=0, ge=0, le=64)
    selection: Selection = "random"
    num: int = Field(default=8, ge=1, le=64)


class Kept(BaseModel, extra="forbid"):
    """A prompt that is to be the recipe's: `system` empty is none."""

    etag: str
    prompt: Words = ""
    system: Words = ""


def asked_rows(recipe: str, trial: Trial) -> dict[str, Any]:
    """The rows of a trial, each with the request that lets a server answer it. To be called aside."""
    from weitiao.data.example import conversation_text
    from weitiao.evaluation.judges.rating import JudgeMetric
    from weitiao.recipe import load_recipe
    from weitiao.study.trying import try_prompt

    loaded = load_recipe(Path(recipe))
    tried = try_prompt(
        loaded,
        _other_words(loaded, trial.prompt, trial.system),
        shots=trial.shots,
        selection=trial.selection,
        num=trial.num,
    )
    how = tried.task.generation
    sampling = {"max_tokens": how.max_new_tokens, "temperature": how.temperature, "top_p": how.top_p, "seed": how.seed}
    sampling |= {} if how.top_k is None else {"top_k": how.top_k}
    rows = [
        {
            "row_id": row.row_id, "question": conversation_text(row.prompt[-1:]), "expected": row.answer,
            "prompt": row.prompt, "columns": row.columns, "text": text, "tokens": len(ids),
            "request": {"messages": row.prompt, **({"tools": row.tools} if row.tools else {})},
        }
        for row, ids, text in zip(tried.task.examples, tried.prompts, tried.texts, strict=True)
    ]  # fmt: skip
    return {
        "rows": rows, "part": tried.part, "num_rows": tried.num_rows, "sampling": sampling,
        "target": base_target(loaded.model), "options": _engine_options(loaded), "template": tried.template,
        "metric": tried.task.metrics[0].title,
        "is_quick": not any(one.remote or isinstance(one, JudgeMetric) for one in tried.task.metrics),
    }  # fmt: skip


def words_now(recipe: str) -> dict[str, Any]:
    """How the rows are asked now, and their columns. To be called aside."""
    from weitiao.recipe import load_recipe
    from weitiao.study.trying import words_of

    loaded = load_recipe(Path(recipe))
    words, columns = words_of(loaded.data.train[0], loaded.objective.rows().record)
    return {"prompt": words.get("prompt", ""), "system": words.get("system", ""), "columns": columns}


def kept_changes(recipe: str, section: dict[str, Any], prompt: str, system: str, folder: str) -> dict[str, Any]:
    """The changes of a recipe that let its rows be asked in other words. To be called aside.

    Which rows a fraction holds out depends on what is asked: parts that are fractions become files, with the rows that
    they have, so that the baseline is still that of the test rows and no row of a trial is among them.

    Args:
        recipe: Its file.
        section: Its section `data` as it is written.
        prompt, system: As of `Trial`.
        folder: For the files: that of a version, two below that of the recipe.

    Raises:
        UiError: They are asked so already.
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.trying import asking, part_files

    loaded, at = load_recipe(Path(recipe)), Path(folder)
    changes: dict[str, Any] = {}
    if not (words := _other_words(loaded, prompt or None, system)):
        raise UiError("The rows are asked so already.", "Change the prompt first.", field="prompt")
    files = part_files(loaded, at) if loaded.data.fractions else {}
    for part, sources in loaded.data.sources.items():
        for index, source in enumerate(sources if part != "replay" else ()):
            given, _ = source_at(section, part, index)
            settings = asking(source, words, loaded.objective.rows().record)
            if part == "train" and files:
                kept = {key: given[key] for key in ("roles", "weight") if isinstance(given, dict) and key in given}
                for other, written in files.items():
                    if index in written:
                        roles = kept if other == "train" else {key: kept[key] for key in kept if key == "roles"}
                        path = written[index].relative_to(at.parents[1]).as_posix()
                        changes.setdefault(f"data.{other}", []).append({"path": path, **settings, **roles})
            elif isinstance(given, dict) or part == "train" or len(loaded.data.train) > 1:
                changes |= with_other_meaning(section, part, index, settings)  # else it is read as train is
    return changes


def _other_words(recipe: Recipe, prompt: str | None, system: str | None) -> dict[str, str]:
    """What of a prompt is not what the recipe has."""
    from weitiao.study.trying import words_of

    now, _ = words_of(recipe.data.train[0], recipe.objective.rows().record)
    given = {"prompt": prompt, "system": system}
    return {name: text for name, text in given.items() if text is not None and text != now.get(name, "")}


def _engine_options(recipe: Recipe) -> tuple[str, ...]:
    """What the baseline computes with: of a GGUF file, llama.cpp would give other answers."""
    rounded = recipe.model.quantization
    return ("--engine", "own", *(() if rounded is None else ("--quantization", rounded)))


def server_of(servers: Servers, target: str, folder: Path, options: tuple[str, ...]) -> Server:
    """A server that has a model and runs it so, begun where none does."""
    for one in servers.all():
        if (one.targets, one.options) == ((target,), options) and servers.facts(one)["state"] != "ended":
            return one
    return servers.start([target], folder, options=options)


def trials_router(ui: Ui) -> APIRouter:
    """The API of prompts that are tried."""
    router = APIRouter(tags=["task"])
    workspace = ui.workspace

    @router.get("/api/projects/{name:path}/prompt")
    async def prompt(name: str) -> dict[str, Any]:
        """How rows are asked now: templates `prompt` and `system`, and the columns that they may print."""
        return await ui.soon.call(words_now, str(workspace.project(name).recipe))

    @router.post("/api/projects/{name:path}/trials", status_code=201)
    async def trial(name: str, wanted: Trial) -> dict[str, Any]:
        """Prepare rows under a prompt, and a server that answers them.

        Each of `rows` has the `request` to send to `/api/servers/ID/v1/chat/completions`, with `sampling` and the
        `model` of the answer; what comes back can be graded by `grades`.
        """
        told = await ui.soon.call(asked_rows, str(workspace.project(name).recipe), wanted)
        target, options = told.pop("target"), tuple(told.pop("options"))
        if (template := told.pop("template")) is not None:
            options = (*options, "--template", str(ui.servers.template(template)))
        server = server_of(ui.servers, target, workspace.root, options)
        return {**told, "server": server.id, "model": target.partition("=")[0]}

    @router.post("/api/projects/{name:path}/prompt", status_code=201)
    async def keep(name: str, wanted: Kept) -> dict[str, str]:
        """Let rows be asked so from now on, as a new version of the data."""
        project = workspace.project(name)
        async with drafted(project, "asked", wanted.etag) as draft:
            section = recipes.read(project).values["data"]
            draft.changes = await ui.soon.call(
                kept_changes, str(project.recipe), section, wanted.prompt, wanted.system, str(draft.folder)
            )
        return {"etag": draft.etag}

    return router
