"""One call of `weitiao run`: each step in turn, done only if what it depends on has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rich.console import Console

from weitiao.files import write_json
from weitiao.machine.hardware import detect_hardware
from weitiao.recipe import Recipe
from weitiao.runs.outputs import are_intact, find_outputs, remove_outputs
from weitiao.runs.record import Records, StepRecord
from weitiao.runs.run_dir import RunDir
from weitiao.study.pipeline.keys import Identities, step_key
from weitiao.study.pipeline.measure import measured
from weitiao.study.pipeline.result import PipelineResult, StepOutcome, result_of, stop_after
from weitiao.study.pipeline.step import Step, Work, seconds_left
from weitiao.study.pipeline.training import left_open, settle_training, write_current_recipe
from weitiao.study.resume import require_own_recipe
from weitiao.study.setup import environment, set_threads
from weitiao.terminal.progress import StepLines
from weitiao.text.wording import Language


@dataclass(slots=True)
class Pipeline:
    """One call of `weitiao run`: goes through the steps and keeps `steps.json` up to date.

    Attributes:
        recipe: With `run_dir` set.
        run: The run directory, locked.
        console: Where progress goes.
        steps: All steps, in order.
        redo: Steps to do again.
        skip: Steps to leave out.
        language: Of the report.
        records: What is known about the steps.
        identities: Of the recipe's settings; of those that the training here filled in, as they were asked for.
        lines: Tells how far it is.
        outcomes: What became of the steps so far.
    """

    recipe: Recipe
    run: RunDir
    console: Console
    steps: tuple[Step, ...]
    redo: frozenset[str]
    skip: frozenset[str]
    language: Language
    records: Records
    identities: Identities
    lines: StepLines
    outcomes: dict[str, StepOutcome] = field(default_factory=dict)

    def go(self, until: str | None) -> PipelineResult:
        """Go through the steps, the last one being `until`."""
        records = self.records
        require_own_recipe(self.run)
        self._settle()
        records.skipped, records.stop = tuple(s.name for s in self.steps if s.name in self.skip), None
        for step in self.steps:
            self.outcomes[step.name] = self._left_out(step) or self._do(step)
            if records.stop is None and self.outcomes[step.name].is_available:
                records.stop = stop_after(step.name, self.recipe, self.run)
                if records.stop is not None:
                    what = "the data has errors" if records.stop.reason == "findings" else "prompting suffices"
                    self.lines.message(f"The run ends here: {what}")
            if step.name == until:
                break
        records.save()
        return result_of(self.run, self.steps, self.outcomes, records)

    def _settle(self) -> None:
        """Bring the run directory in line with the recipe before anything is done in it."""
        train = next((step for step in self.steps if step.name == "train"), None)
        if train is not None and train.name not in self.skip:
            record, asked_for = self.records.steps.get(train.name), Identities(left_open(self.recipe, self.run))
            if record is not None and record.key == step_key(train, asked_for, {}):
                self.identities = asked_for  # what the recipe says beyond it was chosen by this very training
            settle_training(
                self.recipe,
                self.run,
                self.records,
                step_key(train, self.identities, {}),
                again=train.name in self.redo,
                of_results=[pattern for step in _dependants(train, self.steps) for pattern in step.writes],
                tell=self.lines.message,
            )
        write_current_recipe(self.recipe, self.run)

    def _left_out(self, step: Step) -> StepOutcome | None:
        """What becomes of a step that is not to be done in this call; None for one that is."""
        if self.records.stop is not None and step.name != "report":
            return StepOutcome(step.name, "not reached")
        if step.name in self.skip:
            self.lines.passed_over(step.name, "skipped")
            return StepOutcome(step.name, "skipped")
        missing = [name for name in step.needs if not self.outcomes[name].is_available]
        if missing:
            why = f"left out: it needs {' and '.join(missing)}"
            self.lines.passed_over(step.name, why)
            return StepOutcome(step.name, "left out", summary=why)
        return None

    def _do(self, step: Step) -> StepOutcome:
        """A step that is due, unless its result is there."""
        available = frozenset(name for name, outcome in self.outcomes.items() if outcome.is_available)
        upstream = {name: self.records.steps[name].digest for name in step.upstream if name in available}
        key = step_key(step, self.identities, upstream, **self._more(step, available))
        record = self.records.steps.get(step.name)
        if record is not None and self._is_valid(step, record, key):
            self.lines.passed_over(step.name, f"nothing to do: {record.summary}")
            return StepOutcome(step.name, "unchanged", summary=record.summary)
        spent = sum(outcome.seconds for outcome in self.outcomes.values())
        self.lines.begins(step.name, spent, seconds_left(self._due(step), self.records.steps, self.run))
        goes_on = record is not None and record.key == key and record.state == "started"
        before = record.seconds if record is not None and goes_on else 0.0
        takes_over = step.resumes and step.name not in self.redo
        if not takes_over:
            remove_outputs(self.run.path, step.writes)
        seconds = self._perform(step, StepRecord("started", key, upstream, seconds=before, begun=_now()), available)
        done = self.records.steps[step.name]
        self.lines.ended(step.name, done)
        if takes_over and record is not None and record.state == "done" and record.seconds > done.seconds:
            # It took over what that call had done: the report shall say what the result cost.
            memory = max(record.peak_memory_bytes, done.peak_memory_bytes)
            self._note(step, replace(done, seconds=record.seconds, peak_memory_bytes=memory))
        return StepOutcome(step.name, "done", seconds, done.summary)

    def _perform(self, step: Step, started: StepRecord, available: frozenset[str]) -> float:
        """Run a step's action; `steps.json` says `started` until its outputs are whole."""
        self._note(step, started)
        if not self.run.environment_path.exists():
            hardware = detect_hardware()
            set_threads(self.recipe, hardware)
            write_json(self.run.environment_path, environment(hardware))
        summary = None
        try:
            with measured() as usage:
                summary = step.action(
                    Work(self.recipe, self.run, self.console, self.lines.once, available, self.language)
                )
        finally:
            used = replace(
                started,
                seconds=started.seconds + usage.seconds,
                peak_memory_bytes=usage.peak_memory_bytes,
                ended=_now(),
            )
            if summary is not None:
                outputs = find_outputs(self.run.path, step.writes)
                used = replace(used, state="done", outputs=outputs, summary=summary)
            self._note(step, used)
        return usage.seconds

    def _note(self, step: Step, record: StepRecord) -> None:
        self.records.steps[step.name] = record
        self.records.save()

    def _is_valid(self, step: Step, record: StepRecord, key: str) -> bool:
        return (
            record.state == "done"
            and record.key == key
            and step.name not in self.redo
            and are_intact(self.run.path, record.outputs)
        )

    def _more(self, step: Step, available: frozenset[str]) -> dict[str, object]:
        """What the report shows beyond the other steps' results."""
        if step.name != "report":
            return {}
        ended = {name: self.records.steps[name].ended for name in sorted(available)}
        stop = self.records.stop
        text = stop.text if stop else None
        return {"ended": ended, "skipped": self.records.skipped, "stop": text, "language": self.language}

    def _due(self, first: Step) -> list[Step]:
        """The steps from this one on that are likely to be done in this call."""
        due = [first]
        for step in self.steps[self.steps.index(first) + 1 :]:
            if step.name in self.skip:
                continue
            record = self.records.steps.get(step.name)
            names = {other.name for other in due}
            if (
                record is None
                or record.state != "done"
                or step.name in self.redo
                or not names.isdisjoint(step.upstream)
                or record.key != step_key(step, self.identities, record.upstream)
            ):
                due.append(step)
        return due


def _dependants(step: Step, steps: Sequence[Step]) -> list[Step]:
    """The steps that a step's result reaches, over others too."""
    reached = {step.name}
    found = []
    for other in steps:
        if not reached.isdisjoint(other.upstream):
            reached.add(other.name)
            found.append(other)
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
