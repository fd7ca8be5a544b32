"""`verdict.json`: the verdict of a run, with a sentence for every reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weitiao.files import write_json
from weitiao.records import read_record
from weitiao.verdict.text import sentence
from weitiao.verdict.verdict import Reason, Verdict

VERDICT_FILE = "verdict.json"


def verdict_values(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain JSON values, with the exit code and a sentence per reason in English and Chinese."""
    return {
        "decision": verdict.decision,
        "exit_code": verdict.exit_code,
        "reasons": _with_sentences(verdict.reasons),
        "set_aside": verdict.set_aside,
        "noted": _with_sentences(verdict.noted),
    }


def write_verdict(directory: Path, verdict: Verdict, *, of: Mapping[str, Any] | None = None) -> Path:
    """Write `verdict.json` in one step; returns its path. `of` says what the verdict belongs to."""
    path = directory / VERDICT_FILE
    write_json(path, verdict_values(verdict) | ({} if of is None else {"of": of}))
    return path


def read_verdict(directory: Path) -> Verdict:
    """Read `verdict.json` of a run directory.

    Raises:
        RunError: There is none, or it is not one.
    """
    return read_record(
        Verdict,
        directory / VERDICT_FILE,
        missing="Nothing was decided there yet; do the whole work with: weitiao run RECIPE",
        damaged="Remove it, and run the recipe again.",
    )


def _with_sentences(reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    return [{**asdict(one), "en": sentence(one, "en"), "zh": sentence(one, "zh")} for one in reasons]
