"""A run: its steps with the time left, the loss as it falls, what it prints; stop and go on; its report."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from weitiao.jobs.store import OPEN
from weitiao.runs.record import Records, read_records
from weitiao.runs.run_dir import RunDir
from weitiao.text.wording import Wording, said
from weitiao.ui.context import Ui
from weitiao.ui.live import Metrics, events
from weitiao.ui.pages.home import outline, read_values
from weitiao.ui.pages.jobs import log_of, printed, shown_job
from weitiao.ui.problems import NotFoundError, UiError
from weitiao.ui.templating import Spoken, language_of
from weitiao.ui.workspace import Workspace
from weitiao.yaml_text import parse_yaml

STEPS = (
    "check", "baseline", "retention-before", "train", "eval", "retention-after", "compare", "verdict", "export",
    "report",
)  # fmt: skip
LEAVES = {
    "check": "data-check.json", "baseline": "baseline.json", "retention-before": "retention-before.json",
    "train": "final", "eval": "scores.json", "retention-after": "retention-after.json", "compare": "comparison.json",
    "verdict": "verdict.json", "export": "exports.json", "report": "report.html",
}  # fmt: skip
"""What is there after a step."""
Result = Literal[
    "verdict", "scores", "baseline", "comparison", "gap", "gap-tuned", "data-check", "retention-before",
    "retention-after", "forecast", "environment",
]  # fmt: skip
RECENT = 20
MOST_LINE = 160
_KEPT = 16
_EVENT_ID = re.compile(r"\d{1,15}\.\d{1,15}")


class Kept:
    """The metrics of the runs that were looked at last, so that a drawing reads only what is new."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metrics] = {}

    def of(self, workspace: Workspace, name: str) -> Metrics:
        """The metrics of a run as they are now."""
        path = workspace.run(name).metrics_path
        found = self._metrics.pop(name, None) or Metrics(path)
        self._metrics[name] = found
        while len(self._metrics) > _KEPT:
            self._metrics.pop(next(iter(self._metrics)))
        found.refresh()
        return found


def run_values(workspace: Workspace, name: str, metrics: Metrics) -> dict[str, Any]:
    """Where a run stands: steps of the work, the training's steps and the time left, its job and what it came to."""
    run = workspace.run(name)
    records = read_records(run.path)
    job = workspace.job_of(name)
    shown = [step for step in STEPS if step in records.steps or step != "export"]
    found = outline(workspace, name)
    goes_on = found["goes_on"] or (job is not None and job.state in OPEN)
    log = None if job is None else workspace.jobs.log(job.id)
    return {
        **found,
        "goes_on": goes_on,
        "steps": [
            _step(step, records, _left(step, run), partial(_now, log, step, metrics, run) if goes_on else None)
            for step in shown
        ],
        "stop": None if records.stop is None else {"reason": records.stop.reason, "text": records.stop.text},
        "last_step": metrics.last.get("step"),
        "job": None if job is None else shown_job(job, workspace),
    }


def details(run: RunDir, words: Wording) -> dict[str, Any] | None:
    """What the report says of the training beside its curve: figures, rewards, experts, answers; None before that."""
    from weitiao.report.files import RunFiles
    from weitiao.report.sections.training import training_section
    from weitiao.training.metrics import read_metrics

    if not run.metrics_path.is_file() or not run.recipe_path.is_file():
        return None
    recipe = run.recipe_path.read_text(encoding="utf-8")
    forecast = json.loads(run.forecast_path.read_text(encoding="utf-8")) if run.forecast_path.is_file() else None
    settings = parse_yaml(recipe, str(run.recipe_path))
    metrics = read_metrics(run.metrics_path)
    section = training_section(
        RunFiles(run.path, read_records(run.path), recipe, settings, metrics=metrics, forecast=forecast), words
    )
    return section if "facts" in section else None


def _left(step: str, run: RunDir) -> Literal["done", "unfinished", "never"]:
    """How far a step is by what lies there: a command of its own (`weitiao train`) leaves no record of steps."""
    if (run.path / LEAVES[step]).exists():
        return "done"
    return "unfinished" if step == "train" and run.metrics_path.is_file() else "never"


def _step(name: str, records: Records, left: str, now: Callable[[Wording], str] | None) -> dict[str, Any]:
    """A step of the work: what came of it, or how far it is; `now` says that, where somebody works."""
    record = records.steps.get(name)
    if name in records.skipped or (record is None and left != "unfinished"):
        return {"name": name, "state": "skipped" if name in records.skipped else left, "summary": "", "seconds": 0.0}
    if record is not None and record.state == "done":
        summaries = {"summary": record.summary, "summary_zh": record.summary_zh}
        return {"name": name, "state": "done", **summaries, "seconds": record.seconds}
    if now is None:
        return {"name": name, "state": "unfinished", "summary": "", "seconds": 0.0}
    since = 0.0 if record is None else (datetime.now(UTC) - datetime.fromisoformat(record.begun)).total_seconds()
    told = said(now)
    return {"name": name, "state": "running", "summary": told["en"], "summary_zh": told["zh"], "seconds": since}


def _now(log: Path | None, step: str, metrics: Metrics, run: RunDir, words: Wording) -> str:
    """How far a step is that goes on now: by the steps of the training, or by the last line that its job printed."""
    from weitiao.terminal.progress import left_in_words

    if step == "train" and metrics.last and run.recipe_path.is_file():
        settings = parse_yaml(run.recipe_path.read_text(encoding="utf-8"), str(run.recipe_path)).get("train") or {}
        if total := _total_steps(metrics.last, settings):
            done = metrics.last["step"]
            recent = metrics.train.columns.get("seconds", ())[-RECENT:]
            seconds = (total - done) * sum(recent) / len(recent) if recent else None
            left = left_in_words(seconds, words.language)
            return f"{done:,}/{total:,}  {left}"
    if log is None:
        return ""
    lines = [line.strip() for line in printed(log, None)["text"].splitlines()]
    return next((line[:MOST_LINE] for line in reversed(lines) if line and not line.endswith("─")), "")


def _total_steps(last: dict[str, Any], settings: dict[str, Any]) -> int | None:
    """Steps of the whole training, by the share of its epochs that is done."""
    of_epochs = round(last["step"] / last["epoch"] * (settings.get("epochs") or 3)) if last.get("epoch") else None
    most = settings.get("max_steps")
    known = [one for one in (of_epochs if settings.get("epochs") or not most else None, most) if one]
    return max(min(known), last["step"]) if known else None


def run_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["runs"])
    workspace, kept = ui.workspace, Kept()

    @router.get("/runs/{name:path}/report", include_in_schema=False)
    def report(request: Request, name: str) -> Response:
        from weitiao.report.render import render_report

        html = render_report(workspace.run(name).path, language=language_of(request))
        policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{_digest(html)}'"
        return HTMLResponse(
            html.encode("utf-8", "backslashreplace"),
            headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"},
        )

    @router.get("/runs/{name:path}/training", include_in_schema=False)
    def training(request: Request, name: str) -> Response:
        return ui.pages.page(request, "run-training", t=details(workspace.run(name), Wording(language_of(request))))

    @router.get("/runs/{name:path}", include_in_schema=False)
    def page(request: Request, name: str) -> Response:
        from weitiao.report.sections.data import environment_facts

        values = run_values(workspace, name, kept.of(workspace, name))
        log = None if values["job"] is None else log_of(workspace, values["job"]["id"], None)
        made = environment_facts(
            read_values(workspace.run(name).environment_path) or None, Wording(language_of(request))
        )
        return ui.pages.page(request, "run", run=values, log=log, made=made)

    @router.get("/api/runs")
    def runs() -> list[dict[str, Any]]:
        """All runs, the newest first."""
        return [outline(workspace, name) for name in workspace.runs()]

    @router.get("/api/runs/{name:path}/metrics")
    def metrics(
        name: str,
        series: Annotated[list[str] | None, Query()] = None,
        points: Annotated[int, Query(ge=10, le=5000)] = 50,
    ) -> dict[str, Any]:
        """The numbers of the training's steps, thinned out to so many points each, in which no extreme is lost;
        `offset` is where the stream of new ones begins."""
        return kept.of(workspace, name).drawn(series or (), points)

    @router.get("/api/runs/{name:path}/events")
    def stream(
        name: str,
        offset: Annotated[int, Query(ge=0)] = 0,
        log_offset: Annotated[int, Query(ge=0)] = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        """Steps, validations and printed text as they come, as server-sent events; a lost line is taken up again."""
        path = workspace.run(name).metrics_path
        job = workspace.job_of(name)
        if last_event_id and _EVENT_ID.fullmatch(last_event_id):
            offset, log_offset = map(int, last_event_id.split("."))
        log = None if job is None else workspace.jobs.log(job.id)
        return StreamingResponse(
            events(path, offset, log, log_offset, ending=ui.ending), media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )  # fmt: skip

    @router.get("/api/runs/{name:path}/results/{what}")
    def result(name: str, what: Result) -> Any:
        """A result of a run as it stands in its file."""
        path = workspace.run(name).path / f"{what}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise NotFoundError(f"The run {name} has no {what}.") from error
        except ValueError as error:
            raise UiError(f"{path} is damaged: {error}.", "Remove it; its step is then done again.") from error

    @router.get("/api/runs/{name:path}/why")
    async def why(
        name: str,
        step: Annotated[int, Query(ge=1)],
        num: Annotated[int, Query(ge=1, le=50)] = 5,
        language: Spoken = "en",
    ) -> list[dict[str, Any]]:
        """The rows behind a step, with the highest loss first."""
        found = await ui.soon.call(_why, str(workspace.run(name).path), step, num)
        return [{**one, "label": Wording(language).phrase(one["label"])} for one in found]

    @router.get("/api/runs/{name:path}")
    def run(name: str) -> dict[str, Any]:
        """Where a run stands."""
        return run_values(workspace, name, kept.of(workspace, name))

    return router


def _digest(html: str) -> str:
    """Of the one script of a report: texts of users stand in it escaped, so the first one is ours."""
    script = html.partition("<script>")[2].partition("</script>")[0]
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _why(path: str, step: int, num: int) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from weitiao.study.why import rows_behind

    return [asdict(one) for one in rows_behind(Path(path), step, num=num)]
