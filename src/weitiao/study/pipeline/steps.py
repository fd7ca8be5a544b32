"""The steps of `weitiao run`, in order: what each depends on, what it leaves, and what it does.

Each calls the function behind its own command, and says in one line what came out.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

from weitiao.baseline.result import read_baseline
from weitiao.data.load import load_data
from weitiao.errors import DataError
from weitiao.evaluation.answer_files import read_predictions
from weitiao.evaluation.answers import is_gradable
from weitiao.evaluation.comparison import COMPARISON_FILE, Comparison, compare_predictions, write_comparison
from weitiao.evaluation.gap.analyse import analyse_gap
from weitiao.files import write_json
from weitiao.methods.fingerprint import weights_hash
from weitiao.records import record_of
from weitiao.report.markup import prompt_name
from weitiao.report.render import write_report
from weitiao.retention.comparison import RetentionComparison, compare_retention
from weitiao.runs.belonging import made_of
from weitiao.runs.record import digest_of
from weitiao.study.baseline.run import run_baseline
from weitiao.study.check import Target, check_recipe, inspect_data
from weitiao.study.effects import READS
from weitiao.study.evaluate import evaluate_recipe
from weitiao.study.export import Asked, export_run
from weitiao.study.pipeline.step import Step, Work
from weitiao.study.retention import AFTER, BEFORE, read_retention, score_retention
from weitiao.study.task import task_from_recipe
from weitiao.study.train import train as run_training
from weitiao.terminal.findings import summary_of
from weitiao.text.wording import Said, Wording, said
from weitiao.training.metrics import read_metrics
from weitiao.verdict.verdict import decide, write_verdict

CHECK_FILE = "data-check.json"
GAP_TUNED_FILE = "gap-tuned.json"
TUNED = "tuned"


def check(work: Work) -> Said:
    """Look for what is wrong with the data, and what is in it."""
    report = check_recipe(work.recipe, console=work.console)
    inspection = inspect_data(Target([str(work.run.recipe_path)]), console=work.console)
    write_json(work.run.path / CHECK_FILE, {**report.to_dict(), "inspection": asdict(inspection)})
    return said(lambda words: summary_of(report, words.language))


def baseline(work: Work) -> Said:
    """Try prompts with every candidate model, and see where the best one falls short."""
    found = run_baseline(work.recipe, console=work.console, output=work.run.path, tell=work.tell).baseline
    score = found.best.metrics[found.primary]
    return said(
        lambda words: words(
            "done.baseline", metric=words.named("metric", found.primary), score=words("estimate", **asdict(score)),
            model=found.best.model, prompt=prompt_name(found.best.prompt, words),
            decision=words(f"done.baseline.{found.advice.decision}"),
        )
    )  # fmt: skip


def retention_before(work: Work) -> Said:
    """Score the base model on what it should not forget."""
    scores = score_retention(work.recipe, tuned=False, console=work.console)
    informative = sum(part.is_informative for part in scores.parts)
    return said(lambda words: words("done.retention-before", parts=len(scores.parts), informative=informative))


def train(work: Work) -> Said:
    """Train, go on with a training, or take over one that is finished."""
    run = work.run
    if run.is_finished and digest_of(run.final) is None:
        shutil.rmtree(run.final)  # damaged: it is made again from the last checkpoint
    if not run.is_finished and not run_training(work.recipe, console=work.console, tell=work.tell).finished:
        raise KeyboardInterrupt
    steps = [line for line in read_metrics(run.metrics_path) if "loss" in line]
    seconds = sum(line["seconds"] for line in steps)
    facts = {"steps": f"{len(steps):,}", "loss": f"{steps[-1]['loss']:.4f}"}
    return said(lambda words: words("done.train", time=words.duration(seconds), **facts))


def evaluate(work: Work) -> Said:
    """Score the tuned model on the test rows."""
    scores = evaluate_recipe(work.recipe, tuned=True, output=work.run.path, console=work.console, tell=work.tell).scores
    if scores.primary in scores.metrics:
        score = scores.metrics[scores.primary]
        return said(
            lambda words: words(
                "done.eval", metric=words.named("metric", scores.primary), score=words("estimate", **asdict(score))
            )
        )
    return said(lambda words: words("done.eval.loss", loss=scores.validation_loss))


def retention_after(work: Work) -> Said:
    """Score the tuned model on the same items as the base model."""
    scores = score_retention(work.recipe, tuned=True, console=work.console)
    return said(lambda words: words("done.retention-after", parts=len(scores.parts)))


def compare(work: Work) -> Said:
    """Put the tuned model beside the best prompt, row by row, and see where it still falls short."""
    path, recipe = work.run.path, work.recipe
    before = read_baseline(path)
    old, new = read_predictions(path / before.best.predictions), read_predictions(path / "predictions.jsonl")
    asked = {one.row_id for one in old}
    chosen = tuple(one for one in new if one.row_id in asked)  # `baseline.limit` may have left rows out
    if not chosen:
        raise DataError(
            "The baseline and the tuned model answered different rows.", "Run it again with --redo baseline."
        )
    data = load_data(recipe.data, rows=recipe.objective.rows())
    names = f"{before.best.model}, {before.best_prompt}", TUNED
    comparison = compare_predictions(old, chosen, names=names, metrics=task_from_recipe(recipe, data).metrics)
    retention = _retention(work)
    of = made_of(path, before.best.predictions, "predictions.jsonl", weights=weights_hash(recipe.model, work.run.final))
    write_comparison(path, comparison, retention=None if retention is None else retention.to_dict(), of=of)
    answers = [row.answer for row in data.task_train if is_gradable(row)]
    gap = analyse_gap(
        chosen,
        primary=comparison.primary,
        score=comparison.metrics[comparison.primary].after,
        target=recipe.verdict.target,
        training_answers=answers,
        model=recipe.model.name,
        prompt=TUNED,
    )
    write_json(path / GAP_TUNED_FILE, gap)
    gain = comparison.gain.difference
    figures = {"gain": gain.value, "low": gain.low, "high": gain.high}
    return said(lambda words: words("done.compare", **{key: f"{100 * one:+.1f}" for key, one in figures.items()}))


def verdict(work: Work) -> Said:
    """Decide."""
    values = json.loads((work.run.path / COMPARISON_FILE).read_text(encoding="utf-8"))
    comparison = record_of(Comparison, values)
    retention = None if values["retention"] is None else record_of(RetentionComparison, values["retention"])
    tuned = comparison.metrics[comparison.primary].after
    decided = decide(tuned, comparison.gain, retention, work.recipe.verdict)
    weights = weights_hash(work.recipe.model, work.run.final)
    write_verdict(work.run.path, decided, of=made_of(work.run.path, COMPARISON_FILE, weights=weights))
    return {"en": decided.decision, "zh": Wording("zh")(f"verdict.{decided.decision}")}


def export(work: Work) -> Said:
    """Export the tuned model, and judge every export."""
    asked = work.recipe.export
    formats = Asked(asked.formats, rows=asked.rows, largest_loss=asked.largest_loss)
    models = export_run(work.recipe, formats, work.tell).models
    return said(
        lambda words: words("list.comma").join(f"{one.format} {words(f'export.{one.outcome}')}" for one in models)
    )


def report(work: Work) -> Said:
    """Write the page."""
    path = write_report(work.run.path, language=work.language)
    return said(lambda _: str(path))


def _retention(work: Work) -> RetentionComparison | None:
    """The suite before and after; None when it was left out."""
    if not (work.has("retention-before") and work.has("retention-after")):
        return None
    path = work.run.path
    return compare_retention(read_retention(path / BEFORE), read_retention(path / AFTER), work.recipe.verdict)


STEPS: tuple[Step, ...] = (
    Step(
        name="check",
        reads=READS["check"],
        writes=("data-check.json",),
        action=check,
    ),
    Step(
        name="baseline",
        reads=READS["baseline"],
        writes=("baseline.json", "gap.json", "predictions-baseline-*.jsonl", "predictions-baseline-*.key.json"),
        action=baseline,
        resumes=True,
    ),
    Step(
        name="retention-before",
        reads=READS["retention-before"],
        writes=("retention-before.json",),
        action=retention_before,
    ),
    Step(
        name="train",
        reads=READS["train"],
        writes=("final", "metrics.jsonl"),
        action=train,
        resumes=True,
    ),
    Step(
        name="eval",
        reads=READS["eval"],
        needs=("train",),
        writes=("scores.json", "predictions.jsonl", "predictions.key.json"),
        action=evaluate,
    ),
    Step(
        name="retention-after",
        reads=READS["retention-after"],
        needs=("retention-before", "train"),
        writes=("retention-after.json",),
        action=retention_after,
    ),
    Step(
        name="compare",
        version=2,
        reads=READS["compare"],
        needs=("baseline", "eval"),
        uses=("retention-before", "retention-after"),
        writes=("comparison.json", "gap-tuned.json"),
        action=compare,
    ),
    Step(
        name="verdict",
        reads=READS["verdict"],
        needs=("compare",),
        writes=("verdict.json",),
        action=verdict,
    ),
    Step(
        name="export",
        reads=READS["export"],
        needs=("train",),
        writes=("exports.json", "export/*"),
        action=export,
        resumes=True,
    ),
    Step(
        name="report",
        reads=READS["report"],
        uses=(
            "check", "baseline", "retention-before", "train", "eval", "retention-after", "compare", "verdict", "export",
        ),
        writes=("report.html",),
        action=report,
    ),
)  # fmt: skip
STEP_NAMES = tuple(step.name for step in STEPS)
