"""What a baseline found: the content of `baseline.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from weitiao.baseline.advice import Advice
from weitiao.baseline.fewshot import PromptCost
from weitiao.errors import RunError
from weitiao.evaluation.paired import PairedDifference
from weitiao.evaluation.statistics import Estimate
from weitiao.files import write_json
from weitiao.records import read_record

BASELINE_FILE = "baseline.json"
GAP_FILE = "gap.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cell:
    """One model with one prompt.

    Attributes:
        model: The model's name in the recipe.
        num_parameters: Its size.
        prompt: `zero-shot`, or for instance `8-shot random`.
        shots: Solved examples in the prompt.
        metrics: Scores by metric, the primary one first.
        cost: What the prompts cost in tokens.
        answer_tokens: Mean tokens of an answer.
        seconds_per_answer: Of answers in batches: the time of all of them divided by their number.
        latency_seconds: Of an answer on its own: median of the first few rows.
        num_cut_off: Answers that the limit of new tokens cut off.
        shot_rows: Row ids of the examples, when all rows have the same ones.
        predictions: Name of the file with the answers, in the run directory.
    """

    model: str
    num_parameters: int
    prompt: str
    shots: int
    metrics: dict[str, Estimate]
    cost: PromptCost
    answer_tokens: float
    seconds_per_answer: float
    latency_seconds: float
    num_cut_off: int
    shot_rows: tuple[str, ...]
    predictions: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model and its best prompt.

    Attributes:
        model: Its name in the recipe.
        num_parameters: Its size.
        best: The prompt with the highest primary score; of equal ones the shortest.
        gain: The best prompt against zero-shot on the same rows, by the primary metric; None when zero-shot is the
            best or was not tried.
    """

    model: str
    num_parameters: int
    best: str
    gain: PairedDifference | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """How far prompting goes.

    Attributes:
        primary: The metric that decides.
        target: What has to be reached; None when the recipe names no `verdict.target`.
        num_rows: Test rows that were answered.
        cells: Every model with every prompt.
        candidates: One per model.
        best_model, best_prompt: The cell with the highest primary score.
        advice: Whether to tune, and what.
    """

    primary: str
    target: float | None
    num_rows: int
    cells: tuple[Cell, ...]
    candidates: tuple[Candidate, ...]
    best_model: str
    best_prompt: str
    advice: Advice

    @property
    def best(self) -> Cell:
        """The cell with the highest primary score."""
        return self.cell(self.best_model, self.best_prompt)

    def cell(self, model: str, prompt: str) -> Cell:
        """The cell of a model and a prompt."""
        return next(cell for cell in self.cells if (cell.model, cell.prompt) == (model, prompt))


@dataclass(frozen=True, slots=True)
class _Cells:
    """What every `baseline.json` has, that of a baseline which is not finished as well."""

    finished: bool
    cells: tuple[Cell, ...]


def write_baseline(directory: Path, baseline: Baseline) -> Path:
    """Write `baseline.json` in one step; returns its path."""
    path = directory / BASELINE_FILE
    write_json(path, {"finished": True, **asdict(baseline)})
    return path


def write_cells(directory: Path, cells: Sequence[Cell]) -> None:
    """Write what there is of a baseline that is not finished, so that a later call goes on from it."""
    write_json(directory / BASELINE_FILE, _Cells(False, tuple(cells)))


def read_baseline(directory: Path) -> Baseline:
    """Read `baseline.json` of a run directory.

    Raises:
        RunError: There is none, it is not finished, or it is damaged.
    """
    path = directory / BASELINE_FILE
    if not _read(_Cells, path).finished:
        raise RunError(f"{path} holds a baseline that is not finished.", "Go on with `weitiao baseline RECIPE`.")
    return _read(Baseline, path)


def read_cells(directory: Path) -> tuple[Cell, ...]:
    """The cells of an earlier baseline in a run directory, finished or not; none when there was none.

    Raises:
        RunError: `baseline.json` is damaged.
    """
    path = directory / BASELINE_FILE
    return _read(_Cells, path).cells if path.is_file() else ()


def _read(kind: type[T], path: Path) -> T:
    missing, damaged = "Make it with `weitiao baseline RECIPE`.", "Remove it, and run `weitiao baseline` again."
    return read_record(kind, path, missing=missing, damaged=damaged)
