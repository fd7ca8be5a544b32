"""Formats of a tuned model with size, speed and quality, and making more of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from weitiao.text.wording import Wording
from weitiao.ui.context import Ui
from weitiao.ui.pages.jobs import shown_job, submit
from weitiao.ui.problems import UiError
from weitiao.ui.templating import Spoken, language_of
from weitiao.ui.workspace import Workspace

USUAL = ("gguf-q8_0", "gguf-q4_k_m", "gguf-f16", "gguf-lora", "merged", "adapter", "nf4", "ollama")
"""Formats that are offered first, the ones that most people take in front."""


class NewExport(BaseModel, extra="forbid"):
    """What is to be exported.

    Attributes:
        formats: Their names; or
        best_under: The smallest good one alone, of this size at most, such as 200MB.
        rows: Test rows that every export answers, at most.
        largest_loss: What the metric may lose: 0.02 are two points.
    """

    formats: list[str] = Field(default=[], max_length=40)
    best_under: str | None = None
    rows: int = Field(default=200, ge=1)
    largest_loss: float = Field(default=0.02, ge=0)


def command_of(new: NewExport, run: str) -> list[str]:
    """The command that makes it.

    Raises:
        UiError: Nothing is named, or a format that there is not.
    """
    from weitiao.export.registry import parse_format

    if not new.formats and not new.best_under:
        raise UiError("No format is named.", "Choose one, or the largest size that is all right.", field="formats")
    for name in new.formats:
        parse_format(name)
    command = ["export", run, "--rows", str(new.rows), "--largest-loss", str(new.largest_loss)]
    command += ["--to", ",".join(new.formats)] if new.formats else []
    return command + (["--best-under", new.best_under] if new.best_under else [])


def export_values(workspace: Workspace, name: str, words: Wording) -> dict[str, Any]:
    """What was exported of a run: the table of its report; and the job that exports more, if there is one."""
    from weitiao.report.files import read_run
    from weitiao.report.sections.export import export_section

    run = workspace.run(name)
    job = workspace.job_of(name)
    return {
        "name": name,
        "is_finished": run.is_finished,
        "table": export_section(read_run(run.path), words),
        "job": None if job is None or job.command[0] != "export" else shown_job(job, workspace),
    }


def export_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["export"])
    workspace = ui.workspace

    @router.get("/runs/{name:path}/export", include_in_schema=False)
    def page(request: Request, name: str) -> Response:
        from weitiao.export.registry import NAMES

        values = export_values(workspace, name, Wording(language_of(request)))
        more = [one for one in NAMES if one not in USUAL]
        return ui.pages.page(request, "export", run=values, data={"export": values["table"]}, usual=USUAL, more=more)

    @router.get("/api/runs/{name:path}/exports")
    def exports(name: str) -> dict[str, Any]:
        """What was exported, with size, memory, speed and quality."""
        return export_values(workspace, name, Wording("en"))

    @router.post("/api/runs/{name:path}/exports", status_code=201)
    def export(name: str, new: NewExport, language: Spoken = "en") -> dict[str, Any]:
        """Put an export into the queue."""
        path = workspace.run(name).path
        return submit(workspace, command_of(new, str(path)), workspace.root, path, language)

    return router
