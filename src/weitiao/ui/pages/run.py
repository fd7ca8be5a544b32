"""A run: its steps with the time left, the loss as it falls, what it prints; stop and go on; its report."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from weitiao.runs.record import read_records
from weitiao.ui.context import Ui
from weitiao.ui.live import Metrics, events
from weitiao.ui.pages.home import outline
from weitiao.ui.pages.jobs import log_of, shown_job
from weitiao.ui.templating import language_of
from weitiao.ui.workspace import Workspace

STEPS = (
    "check", "baseline", "retention-before", "train", "eval", "retention-after", "compare", "verdict", "export",
    "report",
)  # fmt: skip
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
    steps = []
    for step in STEPS:
        record = records.steps.get(step)
        state = "never" if record is None else ("unfinished" if record.state == "started" else "done")
        if step in records.skipped:
            state = "skipped"
        if record is not None or step != "export":
            steps.append(
                {
                    "name": step, "state": state, "summary": record.summary if record else "",
                    "seconds": record.seconds if record else 0.0,
                }
            )  # fmt: skip
    return {
        **outline(workspace, name),
        "steps": steps,
        "stop": None if records.stop is None else {"reason": records.stop.reason, "text": records.stop.text},
        "progress": _progress(metrics, run.is_finished),
        "job": None if job is None else shown_job(job, workspace),
    }


def _progress(metrics: Metrics, is_finished: bool) -> dict[str, Any] | None:
    """How far the training is, by the share of its epochs that is done."""
    last = metrics.last
    if not last:
        return None
    recent = metrics.train.get("tokens_per_second", [])[-20:]
    return {
        "step": last["step"], "epoch": last.get("epoch"), "loss": last.get("loss"), "is_finished": is_finished,
        "tokens_per_second": sum(value for _, value in recent) / len(recent) if recent else None,
        "seconds_per_step": last.get("seconds"), "memory_gib": last.get("memory_gib"),
    }  # fmt: skip


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

    @router.get("/runs/{name:path}", include_in_schema=False)
    def page(request: Request, name: str) -> Response:
        values = run_values(workspace, name, kept.of(workspace, name))
        log = None if values["job"] is None else log_of(workspace, values["job"]["id"], None)
        return ui.pages.page(request, "run", run=values, log=log)

    @router.get("/api/runs")
    def runs() -> list[dict[str, Any]]:
        """All runs, the newest first."""
        return [outline(workspace, name) for name in workspace.runs()]

    @router.get("/api/runs/{name:path}/metrics")
    def metrics(
        name: str,
        series: Annotated[list[str] | None, Query()] = None,
        points: Annotated[int, Query(ge=10, le=5000)] = 600,
    ) -> dict[str, Any]:
        """The numbers of the training's steps, thinned out; `offset` is where the stream of new ones begins."""
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
            events(path, offset, log, log_offset), media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )  # fmt: skip

    @router.get("/api/runs/{name:path}/why")
    async def why(
        name: str, step: Annotated[int, Query(ge=1)], num: Annotated[int, Query(ge=1, le=50)] = 5
    ) -> list[dict[str, Any]]:
        """The rows behind a step, with the highest loss first."""
        return await ui.aside.call(_why, str(workspace.run(name).path), step, num)

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
    from pathlib import Path

    from weitiao.study.why import rows_behind

    return [asdict(one) for one in rows_behind(Path(path), step, num=num)]
