"""Shared by the tests of data quality: files of rows, and checks of them through the real functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weitiao.quality.check import CheckReport, check, parts_of_files
from weitiao.quality.findings import Finding
from weitiao.quality.settings import CheckSettings


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def pair(question: str, answer: str = "Yes.") -> dict[str, str]:
    return {"prompt": question, "completion": answer}


def check_files(*files: Path, against: tuple[Path, ...] = (), **settings: Any) -> CheckReport:
    if "kinds" in settings:
        settings["kinds"] = frozenset(settings["kinds"])
    return check(parts_of_files(files, against), CheckSettings(**settings))


def of_kind(report: CheckReport, kind: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.kind == kind]


def rows_of(report: CheckReport, kind: str, severity: str | None = None) -> list[int]:
    """The rows with findings of a kind."""
    found = [f for f in of_kind(report, kind) if severity in (None, f.severity)]
    return sorted({row for finding in found for row in finding.rows})
