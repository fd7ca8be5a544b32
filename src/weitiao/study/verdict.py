"""The verdict of a run directory, as long as it is that of the results there."""

from __future__ import annotations

from pathlib import Path

from weitiao.console import quoted
from weitiao.errors import RunError
from weitiao.runs.belonging import Belonging, Belongings
from weitiao.runs.record import read_records
from weitiao.verdict.verdict import VERDICT_FILE, Verdict, read_verdict

_WHY: dict[Belonging, str] = {
    "skipped": "the last call of `weitiao run` skipped it",
    "outdated": "something that it was decided from has changed since",
    "replaced": "the weights, or the comparison that it was decided from, are others now",
}


def verdict_of(run: Path) -> Verdict:
    """The verdict in a run directory.

    Raises:
        RunError: There is none, it is damaged, or it belongs to something else than what lies there.
    """
    found = read_verdict(run)
    belonging = Belongings(run, read_records(run)).of(VERDICT_FILE, "verdict")
    if belonging != "belongs":
        raise RunError(
            f"The verdict in {run} ({found.decision}) does not belong to what lies there: {_WHY[belonging]}.",
            f"Decide again with: weitiao run {quoted(run)}",
        )
    return found
