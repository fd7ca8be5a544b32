"""`weitiao run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import Overrides, ReportLanguage
from weitiao.console import quoted

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.study.pipeline.result import PipelineResult


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory to go on with.")],
    overrides: Overrides = None,
    until: Annotated[str | None, typer.Option(help="The last step to do.")] = None,
    redo: Annotated[
        list[str] | None, typer.Option(help="A step to do again although nothing changed; repeatable.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="A step to leave out; repeatable.")] = None,
    language: ReportLanguage = "en",
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Do the whole work: check the data, try prompting, train, evaluate, compare, decide, and report.

    Steps: check, baseline, retention-before, train, eval, retention-after, compare, verdict, report. What is done stays
    done: a second call does nothing, a changed recipe redoes what follows from the change, a killed call goes on.

    Exit codes: 0 ship (or prompting suffices), 3 do not ship (or the data has errors), 4 undecided.

    Examples:

        weitiao run recipe.yaml

        weitiao run recipe.yaml --until baseline

        weitiao run recipe.yaml --skip retention-before --skip retention-after train.epochs=1

        weitiao run runs/tickets --redo eval
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.pipeline.run import run_pipeline

    console = messages()
    loaded = load_recipe(recipe, overrides or ())
    try:
        result = run_pipeline(loaded, console=console, until=until, redo=redo or (), skip=skip or (), language=language)
    except KeyboardInterrupt:
        closing_panel(console, "Interrupted, what is done is kept", [("run", str(loaded.run_dir))], [_command(recipe)])
        raise
    if json:
        print_json(result.to_dict())
    else:
        print_outcome(result, results())
    closing_panel(console, *_closing(result, recipe))
    raise typer.Exit(result.exit_code)


def print_outcome(result: PipelineResult, console: Console) -> None:
    """The verdict, or why the run ended before there was one."""
    from weitiao.terminal.verdict import verdict_panel

    if result.verdict is not None:
        console.print(verdict_panel(result.verdict))
    elif result.stop is not None:
        console.print(result.stop.text, highlight=False, markup=False, soft_wrap=True)


def _closing(result: PipelineResult, recipe: Path) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Title, facts and next commands of the closing panel."""
    path = result.path
    facts = [("run", str(path))]
    if result.report is not None:
        facts.append(("report", str(result.report)))
    if result.stop is not None:
        switch = "run.on_findings" if result.stop.reason == "findings" else "run.on_advice"
        return "Stopped before the training", facts, [f"{_command(recipe)} {switch}=continue"]
    if result.verdict is not None:
        facts.insert(0, ("verdict", result.verdict.decision))
        return "Done", facts, [f"weitiao chat {quoted(path)} --compare", f"weitiao merge {quoted(path)} MODEL_DIR"]
    title = "Done, without a verdict" if result.reached_end else "Done so far"
    return title, facts, [_command(recipe), f"weitiao report {quoted(path)}"]


def _command(recipe: Path) -> str:
    return f"weitiao run {quoted(recipe)}"
