"""`steps.json`, what `weitiao run` has done in a run directory and from what; and the files that a step leaves."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from weitiao.files import COMPLETE, sha256, write_json
from weitiao.records import read_record

NAME = "steps.json"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known about a step.

    Attributes:
        state: `started` until its outputs are whole, then `done`.
        key: Of everything that its result depends on.
        upstream: Step to digest of the results that it was given.
        outputs: File to digest.
        summary: One line about what came out.
        summary_zh: The same in Chinese.
        seconds: Time that it took, interrupted calls included (a killed process adds nothing). Where a later call took
            results over, that of the earlier one, if it is more.
        peak_memory_bytes: Most memory that the process held meanwhile; on a GPU, most that PyTorch held there.
        begun, ended: ISO 8601, UTC.
    """

    state: Literal["started", "done"]
    key: str
    upstream: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    begun: str = ""
    ended: str = ""
    summary_zh: str = ""

    @property
    def digest(self) -> str:
        """One digest of all outputs."""
        return combined(self.outputs)


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ended before its last step.

    Attributes:
        after: The step after which.
        reason: `findings`: the data check found errors. `advice`: prompting suffices.
        text: One sentence for people.
    """

    after: str
    reason: Literal["findings", "advice"]
    text: str


@dataclass(slots=True)
class Records:
    """Everything in `steps.json`.

    Attributes:
        path: The file.
        steps: Step to what is known about it.
        skipped: Steps that the last call left out.
        stop: Why the last call ended early; None if it did not.
        format: Of the file.
    """

    path: Path = Path(NAME)
    steps: dict[str, StepRecord] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    stop: Stop | None = None
    format: Literal[1] = 1

    def save(self) -> None:
        """Write the file in one step."""
        write_json(self.path, {name: value for name, value in asdict(self).items() if name != "path"})

    def is_current(self, name: str) -> bool:
        """Whether a step's result is there, and was made from the results that the steps before it have now."""
        record = self.steps.get(name)
        if record is None or record.state != "done" or name in self.skipped:
            return False
        return all(
            self.is_current(other) and self.steps[other].digest == digest for other, digest in record.upstream.items()
        )


def read_records(run: Path) -> Records:
    """Read `steps.json` of a run directory; without one, nothing has been done.

    Raises:
        RunError: The file is damaged, or of another version of this program.
    """
    path = run / NAME
    if not path.exists():
        return Records(path)
    records = read_record(
        Records,
        path,
        missing="",
        damaged="Remove it: `weitiao run` then does the steps again, except the training.",
    )
    records.path = path
    return records


def find_outputs(run: Path, patterns: Iterable[str]) -> dict[str, str]:
    """The files and complete directories that patterns match, with their digests.

    Args:
        run: The run directory.
        patterns: Names or glob patterns, relative to it.

    Returns:
        Name to digest, in order of name.
    """
    paths = sorted({path for pattern in patterns for path in run.glob(pattern)})
    digests = {str(path.relative_to(run)): digest_of(path) for path in paths if path.suffix != ".part"}
    return {name: digest for name, digest in digests.items() if digest is not None}


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file; of a directory written whole, that of its marker, which lists size and SHA-256 of its files.

    Returns:
        None when there is no such file, or the directory is not complete (a file is missing or has another size).
    """
    if path.is_file():
        return sha256(path)
    marker = path / COMPLETE
    if not marker.is_file():
        return None
    listing = json.loads(marker.read_text(encoding="utf-8"))
    for name, facts in listing.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != facts["bytes"]:
            return None
    return sha256(marker)


def are_intact(run: Path, outputs: Mapping[str, str]) -> bool:
    """Whether all files are there as they were recorded."""
    return all(digest_of(run / name) == digest for name, digest in outputs.items())


def remove_outputs(run: Path, patterns: Iterable[str]) -> None:
    """Remove what patterns match, half-written files among them."""
    for path in [path for pattern in patterns for path in run.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def combined(digests: Mapping[str, str]) -> str:
    """One digest for several named ones."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
