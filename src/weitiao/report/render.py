"""`report.html`: one page without any other file, made from what lies in the run directory."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weitiao.files import in_one_step
from weitiao.report.files import RunFiles, read_run
from weitiao.report.markup import shortened, with_code
from weitiao.report.sections.data import costs_section, data_section, reproduce_section
from weitiao.report.sections.export import export_section
from weitiao.report.sections.scores import examples_section, gap_section, scores_section
from weitiao.report.sections.training import training_section
from weitiao.report.sections.verdict import retention_section, verdict_section
from weitiao.runs.run_dir import locked_around
from weitiao.text.wording import Language, Wording

REPORT_FILE = "report.html"

SECTIONS: dict[str, Callable[[RunFiles, Wording], dict[str, Any]]] = {
    "scores": scores_section,
    "gap": gap_section,
    "retention": retention_section,
    "export": export_section,
    "training": training_section,
    "examples": examples_section,
    "data": data_section,
    "costs": costs_section,
    "reproduce": reproduce_section,
}
"""In the order of the page, below the verdict."""


def render_report(run: Path, *, language: Language = "en") -> str:
    """Make the page of a run from its files alone.

    What is not there, or belongs to an earlier state of the recipe, is said instead of shown.

    Args:
        run: The run directory.
        language: Of the page.

    Returns:
        The HTML: styles, drawings and script are inside, and nothing is fetched.

    Raises:
        RunError: It is no run directory, or a file in it is damaged.
    """
    files = read_run(run)
    words = Wording(language)
    environment = Environment(
        loader=PackageLoader("weitiao.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"with_code": with_code, "shortened": shortened}
    data = {name: section(files, words) for name, section in SECTIONS.items()}
    return environment.get_template("report.html.jinja").render(
        words=words,
        head=_head(files),
        sections=_order(files),
        data={"verdict": verdict_section(files, words), **data},
        style=_asset("style.css"),
        script=_asset("script.js"),
    )


def write_report(run: Path, *, output: Path | None = None, language: Language = "en") -> Path:
    """Write the page of a run in one step.

    Args:
        run: The run directory.
        output: The file; `report.html` in the run directory by default.
        language: Of the page.

    Returns:
        Where it lies.

    Raises:
        RunError: It is no run directory, a file in it is damaged, or another process has it.
    """
    path = output or run / REPORT_FILE
    with locked_around(path, "Wait for it, or write the page elsewhere with --output FILE."):
        html = render_report(run, language=language)
        path.parent.mkdir(parents=True, exist_ok=True)
        with in_one_step(path) as beside:  # a lone surrogate in an answer of the data is written as an escape
            beside.write_text(html, encoding="utf-8", errors="backslashreplace")
    return path


def _order(files: RunFiles) -> list[str]:
    """The sections; findings that stopped the run come first, and exports where there are any."""
    stop = files.records.stop
    first = ["data"] if stop is not None and stop.reason == "findings" else []
    shown = [name for name in SECTIONS if name != "export" or files.get("exports.json")]
    return list(dict.fromkeys([*first, *shown]))


def _head(files: RunFiles) -> dict[str, Any]:
    model, method = files.settings["model"], files.settings.get("method", {})
    model_name = model if isinstance(model, str) else model["name"]
    now = datetime.now().astimezone()
    facts = [Path(model_name).name, str(method.get("type", "")), f"{now:%Y-%m-%d}"]
    path = files.path.resolve()
    return {
        "name": f"{path.parent.name}/{path.name}" if path.name == "run" else path.name,
        "facts": [fact for fact in facts if fact],
        "version": importlib.metadata.version("weitiao"),
        "date": f"{now:%Y-%m-%d %H:%M}",
    }


def _asset(name: str) -> Markup:
    """A file of our own beside the templates, as it is."""
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))
