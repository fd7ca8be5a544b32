"""`weitiao run`: all steps of the work in order, each done only if what it depends on has changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rich.console import Console

from weitiao.errors import RecipeError, RunError
from weitiao.files import full_disk_is_named, write_json
from weitiao.machine.hardware import detect_hardware
from weitiao.machine.ranks import num_ranks
from weitiao.recipe import Recipe
from weitiao.report.render import REPORT_FILE
from weitiao.runs.record import Records, StepRecord, are_intact, find_outputs, read_records, remove_outputs
from weitiao.runs.run_dir import RunDir
from weitiao.study.collect import with_feedback
from weitiao.study.export import check_formats, formats_of
from weitiao.study.pipeline.keys import Identities, step_key
from weitiao.study.pipeline.result import PipelineResult, StepOutcome, stop_after
from weitiao.study.pipeline.step import Step, Work, dependants, measured
from weitiao.study.pipeline.steps import STEPS
from weitiao.study.pipeline.training import left_open, settle_training, write_current_recipe
from weitiao.study.resume import require_own_recipe
from weitiao.study.setup import environment, set_threads
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import StepLines
from weitiao.text.wording import Language
from weitiao.verdict.exported import read_exports
from weitiao.verdict.verdict import read_verdict


def run_pipeline(
    recipe: Recipe,
    *,
    console: Console | None = None,
    until: str | None = None,
    redo: Collection[str] = (),
    skip: Collection[str] = (),
    language: Language = "en",
    steps: Sequence[Step] = STEPS,
) -> PipelineResult:
    """Do what a recipe says, from the data check to the report; go on where an earlier call stopped.

    Args:
        recipe: With `run_dir` set.
        console: Where progress goes; stderr by default.
        until: The last step to do.
        redo: Steps to do again although nothing has changed.
        skip: Steps to leave out; what needs them is left out as well, and the report says so.
        language: Of the report.
        steps: The steps, in order.

    Returns:
        What was done and what came out.

    Raises:
        RunError: Another process has the run directory.
        WeitiaoError: Something else that the user can put right; the message says what.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    _require_known(steps, [*redo, *skip, *([until] if until else [])])
    _require_test_rows(recipe)
    if recipe.export.formats:
        check_formats(formats_of(recipe, recipe.export.formats), recipe.model)
    else:
        steps = [step for step in steps if step.name != "export"]
    if num_ranks() > 1:
        raise RunError(
            "`weitiao run` is one process, and torchrun started several.",
            "Train with `torchrun -m weitiao train RECIPE`; `weitiao run RECIPE` then takes the training over.",
        )
    run = RunDir(recipe.run_dir)
    console = console or TextConsole(stderr=True)
    with run.locked(), full_disk_is_named(f"a file in {run.path}", "Free some space, then run it again."):
        lines = StepLines(console, [step.name for step in steps], language)
        if recipe.feedback is not None:
            recipe = with_feedback(recipe, console=console, tell=lines.once)
        work = Work(recipe, run, console, lines.once, frozenset(), language)
        skipped = frozenset(skip) | _not_asked_for(recipe)
        pipeline = Pipeline(
            work, tuple(steps), frozenset(redo), skipped, lines, read_records(run.path), Identities(recipe)
        )
        return pipeline.go(until)


@dataclass(slots=True)
class Pipeline:
    """One call of `weitiao run`: goes through the steps and keeps `steps.json` up to date.

    Attributes:
        work: What the steps work on; its run directory is locked.
        steps: All steps, in order.
        redo: Steps to do again.
        skip: Steps to leave out.
        lines: Tells how far it is.
        records: What is known about the steps.
        identities: Of the recipe's settings; of those that the training here filled in, as they were asked for.
        outcomes: What became of the steps so far.
    """

    work: Work
    steps: tuple[Step, ...]
    redo: frozenset[str]
    skip: frozenset[str]
    lines: StepLines
    records: Records
    identities: Identities
    outcomes: dict[str, StepOutcome] = field(default_factory=dict)

    def go(self, until: str | None) -> PipelineResult:
        """Go through the steps, the last one being `until`."""
        records = self.records
        require_own_recipe(self.work.run)
        self._settle()
        records.skipped, records.stop = tuple(s.name for s in self.steps if s.name in self.skip), None
        for step in self.steps:
            self.outcomes[step.name] = self._left_out(step) or self._do(step)
            if records.stop is None and self.outcomes[step.name].is_available:
                records.stop = stop_after(step.name, self.work.recipe, self.work.run)
                if records.stop is not None:
                    self.lines.ends(records.stop.reason)
            if step.name == until:
                break
        records.save()
        gone = tuple(self.outcomes.get(step.name, StepOutcome(step.name, "not reached")) for step in self.steps)
        available, path = {step.name for step in gone if step.is_available}, self.work.run.path
        return PipelineResult(
            path=path,
            steps=gone,
            verdict=read_verdict(path) if "verdict" in available else None,
            exports=read_exports(path) if "export" in available else None,
            stop=records.stop,
            report=path / REPORT_FILE if "report" in available else None,
            reached_end=len(self.outcomes) == len(self.steps),
            is_judged=self.work.recipe.objective.answers,
        )

    def _settle(self) -> None:
        """Bring the run directory in line with the recipe before anything is done in it."""
        recipe, run = self.work.recipe, self.work.run
        train = next(step for step in self.steps if step.name == "train")
        if train.name not in self.skip:
            record = self.records.steps.get(train.name)
            for asked_for in map(Identities, left_open(recipe, run)):
                if record is not None and record.key == step_key(train, asked_for, {}):
                    self.identities = asked_for  # what the recipe says beyond it was chosen by this very training
                    break
            key, again = step_key(train, self.identities, {}), train.name in self.redo
            results = [pattern for step in dependants(train, self.steps) for pattern in step.writes]
            settle_training(recipe, run, self.records, key, again=again, of_results=results, tell=self.lines.message)
        write_current_recipe(recipe, run)

    def _left_out(self, step: Step) -> StepOutcome | None:
        """What becomes of a step that is not to be done in this call; None for one that is."""
        if self.records.stop is not None and step.name != "report":
            return StepOutcome(step.name, "not reached")
        if step.name in self.skip:
            self.lines.passed_over(step.name, "skipped")
            return StepOutcome(step.name, "skipped")
        missing = [name for name in step.needs if not self.outcomes[name].is_available]
        if missing:
            names = " and ".join(missing)
            self.lines.passed_over(step.name, "left_out", steps=names)
            return StepOutcome(step.name, "left out", summary=f"left out: it needs {names}")
        return None

    def _do(self, step: Step) -> StepOutcome:
        """A step that is due, unless its result is there."""
        available = frozenset(name for name, outcome in self.outcomes.items() if outcome.is_available)
        upstream = {name: self.records.steps[name].digest for name in step.upstream if name in available}
        key = step_key(step, self.identities, upstream, **self._more(step, available))
        if kept := self._kept(step, key):
            self.lines.unchanged(step.name, kept)
            return StepOutcome(step.name, "unchanged", summary=kept.summary)
        record = self.records.steps.get(step.name)
        spent = sum(outcome.seconds for outcome in self.outcomes.values())
        self.lines.begins(step.name, spent)
        goes_on = record is not None and record.key == key and record.state == "started"
        before = record.seconds if record is not None and goes_on else 0.0
        takes_over = step.resumes and step.name not in self.redo
        if not takes_over:
            remove_outputs(self.work.run.path, step.writes)
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
        if not self.work.run.environment_path.exists():
            hardware = detect_hardware()
            set_threads(self.work.recipe, hardware)
            write_json(self.work.run.environment_path, environment(hardware))
        summary = None
        try:
            with measured() as usage:
                summary = step.action(replace(self.work, available=available))
        finally:
            used = replace(
                started,
                seconds=started.seconds + usage.seconds,
                peak_memory_bytes=usage.peak_memory_bytes,
                ended=_now(),
            )
            if summary is not None:
                outputs = find_outputs(self.work.run.path, step.writes)
                used = replace(used, state="done", outputs=outputs, summary=summary["en"], summary_zh=summary["zh"])
            self._note(step, used)
        return usage.seconds

    def _note(self, step: Step, record: StepRecord) -> None:
        self.records.steps[step.name] = record
        self.records.save()

    def _kept(self, step: Step, key: str) -> StepRecord | None:
        """What is known about a step whose result is there and up to date; None for one that is to be done."""
        record = self.records.steps.get(step.name)
        if record is None or (record.state, record.key) != ("done", key) or step.name in self.redo:
            return None
        return record if are_intact(self.work.run.path, record.outputs) else None

    def _more(self, step: Step, available: frozenset[str]) -> dict[str, object]:
        """What the report shows beyond the other steps' results."""
        if step.name != "report":
            return {}
        ended = {name: self.records.steps[name].ended for name in sorted(available)}
        stop = self.records.stop
        text = stop.text if stop else None
        return {"ended": ended, "skipped": self.records.skipped, "stop": text, "language": self.work.language}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _require_known(steps: Sequence[Step], names: Sequence[str]) -> None:
    known = [step.name for step in steps]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RecipeError(f"There is no step `{unknown[0]}`.", f"Steps: {', '.join(known)}.")


def _require_test_rows(recipe: Recipe) -> None:
    if recipe.data.test is None and (recipe.objective.answers or recipe.data.validation is None):
        raise RecipeError(
            "The recipe holds out no test rows: there is nothing to show that tuning helped.",
            "Add data.test=FILE, or a fraction: data.test=0.1.",
        )


def _not_asked_for(recipe: Recipe) -> frozenset[str]:
    """Steps that the recipe itself leaves out."""
    retention = frozenset({"retention-before", "retention-after"})
    left_out = frozenset() if recipe.objective.answers else frozenset({"baseline", "compare", "verdict"})
    wanted = recipe.retention.suite != "none" and not recipe.objective.gives_scores
    return left_out if wanted else left_out | retention
