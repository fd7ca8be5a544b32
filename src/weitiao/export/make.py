"""One export: written beside its place, asked by the engine that will serve it, and put there when it passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError, RunError, WeitiaoError
from weitiao.evaluation.task import Task
from weitiao.export.asking import Open, alone, ask
from weitiao.export.formats import Format
from weitiao.export.questions import Heard, Questions
from weitiao.export.source import Source
from weitiao.export.verify import agreement_of, nats_of, quality_of
from weitiao.files import COMPLETE, check_whole, full_disk_is_named, write_json, written_whole
from weitiao.records import read_record
from weitiao.verdict.exported import Exported, judge

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOTE = "export.json"
CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Examination:
    """What every export has to pass.

    Attributes:
        questions: What is asked.
        tuned: What the tuned model said.
        task: Whose rows are among the questions; None when no answers are graded.
        tokenizer: Of the tuned model.
        largest_loss: What may be lost of the metric.
    """

    questions: Questions
    tuned: Heard
    task: Task | None
    tokenizer: PreTrainedTokenizerBase
    largest_loss: float

    def of(self, name: str, engine: str, open_engine: Open, directory: Path, allowed: float) -> Exported:
        """Ask what lies in a directory, and judge what it says."""
        heard = alone(engine, ask, open_engine, directory, self.questions)
        agreement = agreement_of(self.questions, self.tuned, heard, self.tokenizer, allowed)
        metric, quality = quality_of(self.questions, self.tuned, heard, self.task, self.tokenizer)
        nats, perplexity = nats_of(self.questions, self.tuned, heard)
        outcome, reason = judge(quality, nats, self.largest_loss)
        if objections := agreement.objections():
            outcome, reason = "refused", "; ".join(objections)
        return Exported(
            format=name,
            path=directory,
            engine=engine,
            outcome=outcome,
            reason=reason,
            size_bytes=size_of(directory),
            memory_bytes=heard.memory_bytes,
            tokens_per_second=heard.tokens_per_second,
            load_seconds=heard.load_seconds,
            agreement=agreement,
            metric=metric,
            quality=quality,
            nats=nats,
            perplexity=perplexity,
        )


@dataclass(frozen=True, slots=True)
class Note:
    """`export.json` of an export: what it is, and what it was asked.

    Attributes:
        weights: Hash of the tuned weights.
        examined: Digest of the questions and of what decides about them.
        exported: What was measured.
    """

    weights: str
    examined: str
    exported: Exported


def export_format(
    source: Source,
    form: Format,
    target: Path,
    examination: Examination,
    *,
    examined: str,
    describe: Callable[[Exported, str], str],
) -> Exported:
    """Make one export.

    Args:
        source: What is exported.
        form: In which format.
        target: The directory that it becomes.
        examination: What it has to pass; one that does not is not kept.
        examined: Digest of the examination: an export that passed the same one is not made again.
        describe: Writes the model card, given the name of the file where there is one.

    Raises:
        ModelError: Something else lies there, or the model cannot be written in this format.
        RunError: The disk is full.
    """
    if (there := find_export(target, source.weights)) is not None and there.examined == examined:
        return there.exported
    remedy = "Make room, or name another disk with --output. Nothing was kept."
    with full_disk_is_named(f"the export {target}", remedy), written_whole(target) as directory:
        form.write(source, directory)
        found = examination.of(form.name, form.engine, form.opened_by(source), directory, form.allowed)
        if found.outcome == "refused":
            raise RefusedError(replace(found, path=None))
        found = replace(found, path=target)
        file = next((one.name for one in directory.glob("*.gguf")), "")
        (directory / CARD).write_text(describe(found, file), encoding="utf-8")
        write_json(directory / NOTE, Note(source.weights, examined, found))
    return found


class RefusedError(WeitiaoError):
    """An export is not the tuned model; nothing was kept."""

    exit_code = 3

    def __init__(self, exported: Exported) -> None:
        super().__init__(f"{exported.format}: {exported.reason}.", "Nothing was kept. Choose another format.")
        self.exported = exported


def size_of(directory: Path) -> int:
    """Bytes of what an engine needs of an export."""
    ours = {COMPLETE, NOTE, CARD}
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file() and file.name not in ours)


def find_export(target: Path, weights: str) -> Note | None:
    """The note of an export of the same weights, if its files are whole; None where one is to be made.

    Raises:
        ModelError: Something else lies there.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if (target / NOTE).is_file() and (target / COMPLETE).is_file():
        note = read_record(Note, target / NOTE, missing="", damaged=f"Remove {target}.")
        if note.weights == weights:
            try:
                check_whole(target)
            except RunError:  # files are missing or others: it is made again
                return None
            return note
    raise ModelError(
        f"{target} is there already, and is no export of these weights.",
        "Remove it, or name another directory with --output.",
    )
