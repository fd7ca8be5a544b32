"""`weitiao plan`, `run`, `methods`, `train` and `why`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result, results
from weitiao.cli.options import BaseModelName, Json, Overrides, ReportLanguage, base_settings
from weitiao.console import quoted
from weitiao.errors import Phrase, RecipeError

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.study.pipeline.result import PipelineResult
    from weitiao.text.wording import Language


def plan(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe file; or none, with --model.")] = None,
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option(help="A model of the catalogue, a hub id or a directory.")] = None,
    method: Annotated[str | None, typer.Option(help="lora, full, freeze, bitfit, adapter, peft.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows there are to be, where there is no recipe.")] = 1000,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of each of them.")] = 512,
    device: Annotated[str | None, typer.Option(help="A device of the catalogue; this machine by default.")] = None,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together, each on such a device.")] = 1,
    prices: Annotated[Path | None, typer.Option(help="A table of prices.")] = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Forecast memory, time and cost of a training, before anything is loaded.

    Examples:

        weitiao plan recipe.yaml

        weitiao plan recipe.yaml train.token_budget=4096 --device rtx-4090

        weitiao plan --model mistral-7b --method lora --device rtx-4090 method.r=8
    """
    from weitiao.study.plan import plan_model, plan_recipe, recipe_of_model
    from weitiao.terminal.plan import print_plan
    from weitiao.terminal.progress import teller

    settings = list(overrides or ())
    if model is not None and recipe is not None and "=" in str(recipe):
        settings, recipe = [str(recipe), *settings], None
    if (model is None) == (recipe is None):
        raise RecipeError("Name a recipe, or a model with --model.", "weitiao plan --help shows examples.")
    if method is not None:
        settings.insert(0, f"method.type={method}")
    if recipe is not None:
        from weitiao.recipe import load_recipe

        found, tell = load_recipe(recipe, settings), teller(messages(language))
        report = plan_recipe(found, device=device, prices=prices, tell=tell, num_ranks=ranks)
    else:
        assert model is not None
        made = recipe_of_model(model, settings)
        report = plan_model(made, rows=rows, tokens=tokens, device=device, prices=prices, num_ranks=ranks)
    print_result(report, partial(print_plan, language=language), json=json)


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory to go on with.")],
    overrides: Overrides = None,
    until: Annotated[str | None, typer.Option(help="The last step to do.")] = None,
    redo: Annotated[
        list[str] | None, typer.Option(help="A step to do again although nothing changed; repeatable.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="A step to leave out; repeatable.")] = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Do the whole work: check the data, try prompting, train, evaluate, compare, decide, and report.

    Steps: check, baseline, retention-before, train, eval, retention-after, compare, verdict, export (where the recipe
    names formats), report. A recipe with `stages` is several runs, one after the other. What is done stays done: a
    second call does nothing, a changed recipe redoes what follows from the change, a killed call goes on.

    Exit codes: 0 ship (or prompting suffices), 3 do not ship (or the data has errors), 4 undecided.

    Examples:

        weitiao run recipe.yaml

        weitiao run recipe.yaml --until baseline

        weitiao run recipe.yaml --skip retention-before --skip retention-after train.epochs=1

        weitiao run runs/tickets --redo eval
    """
    from weitiao.recipe.stages import StagedRecipe, load_work
    from weitiao.study.pipeline.run import run_pipeline
    from weitiao.study.stages import run_stages

    console = messages(language)
    work = load_work(recipe, overrides or ())
    do: Callable[..., PipelineResult]
    do = partial(run_stages, work) if isinstance(work, StagedRecipe) else partial(run_pipeline, work)
    try:
        result = do(console=console, until=until, redo=redo or (), skip=skip or (), language=language)
    except KeyboardInterrupt:
        closing_panel(console, "Interrupted, what is done is kept", [("run", str(work.run_dir))], [_command(recipe)])
        raise
    if json:
        print_json(result.to_dict())
    else:
        print_outcome(result, results(language), language)
    closing_panel(console, *_closing(result, recipe, language))
    raise typer.Exit(result.exit_code)


def print_outcome(result: PipelineResult, console: Console, language: Language) -> None:
    """The verdict, or why the run ended before there was one."""
    from weitiao.terminal.exports import print_exports
    from weitiao.terminal.verdict import verdict_panel
    from weitiao.text.wording import Wording

    if result.exports is not None:
        print_exports(result.exports, console)
    if result.verdict is not None:
        console.print(verdict_panel(result.verdict, language))
    elif result.stop is not None:
        told = Wording(language).phrase(result.stop.text)
        console.print(told, highlight=False, markup=False, soft_wrap=True)


def _closing(result: PipelineResult, recipe: Path, language: Language) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Title, facts and next commands of the closing panel."""
    from weitiao.text.wording import Wording

    path = result.path
    facts = [("run", str(path))]
    if result.report is not None:
        facts.append(("report", str(result.report)))
    if result.stop is not None:
        switch = "run.on_findings" if result.stop.reason == "findings" else "run.on_advice"
        return "Stopped before the training", facts, [f"{_command(recipe)} {switch}=continue"]
    if result.verdict is not None:
        decision = result.verdict.decision
        facts.insert(0, ("verdict", decision if language == "en" else Wording(language)(f"verdict.{decision}")))
        return "Done", facts, [f"weitiao chat {quoted(path)} --compare", f"weitiao merge {quoted(path)} MODEL_DIR"]
    title = "Done, without a verdict" if result.reached_end else "Done so far"
    return title, facts, [_command(recipe), f"weitiao report {quoted(path)}"]


def _command(recipe: Path) -> str:
    return f"weitiao run {quoted(recipe)}"


def methods(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory.")],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Find out which method to tune with: a small tournament of methods and learning rates on the recipe's own data.

    Every cell is an ordinary run below the run directory; the same command goes on, and does nothing twice.

    Examples:

        weitiao methods recipe.yaml

        weitiao methods recipe.yaml tournament.rows=500 tournament.rungs=1

        weitiao methods recipe.yaml 'tournament.methods=[{method: {type: lora}}, {method: {type: freeze}}]' --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.tournament import run_tournament
    from weitiao.terminal.verdict import print_tournament

    console = messages()
    found = run_tournament(load_recipe(recipe, overrides or ()), console=console)
    print_result(found, print_tournament, json=json)
    chosen = next(one for one in found.cells if one.name == found.chosen)
    sections = {"quantization": "model.quantization", "method": "method", "optimizer": "optimizer"}
    said = [f"{sections[key]}={dumps(value)}" for key, value in chosen.entry.items() if key in sections]
    words = " ".join(map(quoted, [*said, f"train.learning_rate={chosen.learning_rate:g}"]))
    closing_panel(
        console,
        "Methods",
        [("table", str(found.path)), ("runs", str(found.path.parent))],
        [f"weitiao run {quoted(recipe)} {words}"],
    )


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory to go on with.")],
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Train also where the forecast says it does not fit.")] = False,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Tune a model by a recipe; go on where an earlier call stopped.

    Examples:

        weitiao train recipe.yaml

        weitiao train recipe.yaml train.epochs=1 run_dir=runs/tickets

        weitiao train runs/tickets

        torchrun --nproc-per-node 2 -m weitiao train recipe.yaml
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.train import train as run_training
    from weitiao.terminal.progress import duration
    from weitiao.text.wording import Wording

    console = messages(language)
    loaded = load_recipe(recipe, overrides or ())
    run = run_training(loaded, console=console, force=force)
    path = quoted(run.path)
    if not run.finished:
        closing_panel(
            console, "Interrupted, everything is saved", [("run", str(run.path)), ("steps", str(run.steps))],
            [f"weitiao train {path}"],
        )  # fmt: skip
        raise typer.Exit(130)
    uses = [f"weitiao chat {path}", f"weitiao merge {path} MODEL_DIR"]
    words, best = Wording(language), run.best_validation_loss
    key = "progress.trained" if best is None else "progress.trained.best"
    loss = words(key, loss=run.loss, steps=run.steps, best=best)
    time = words("progress.speed", time=duration(run.seconds, language), speed=run.tokens_per_second)
    closing_panel(
        console,
        "Trained",
        [
            ("run", str(run.path)),
            ("weights", str(run.path / "final")),
            ("loss", loss),
            ("time", time),
        ],
        [f"weitiao eval {path}", *([f"weitiao score {path} --data FILE"] if loaded.objective.gives_scores else uses)],
    )
    if json:
        print_json(run)


def why(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    step: Annotated[int | None, typer.Option(min=1, help="The optimiser step, counted from 1.")] = None,
    num: Annotated[int, typer.Option("-n", "--num", min=1, help="How many rows.")] = 5,
    base_model: BaseModelName = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Show the rows behind a spike of the loss, the worst first, with all answers that were compared or judged.

    Of a run that learns from its own answers: those of that step with their rewards; without a step the best and the
    worst of its last rollout, and those that changed most since its first.

    Examples:

        weitiao why runs/tickets --step 120

        weitiao why runs/grpo
    """
    from rich.text import Text

    from weitiao.study.why import answers_of_run, rows_behind
    from weitiao.terminal.console import wording_of
    from weitiao.terminal.rewards import print_answers

    if step is None:
        found = answers_of_run(run, num)
        print_result(found, print_answers, json=json, language=language)
        return
    culprits = rows_behind(run, step, num=num, overrides=base_settings(base_model))
    if json:
        print_json({"step": step, "rows": culprits})
        return
    console = results(language)
    before, say = "", wording_of(console).phrase
    for culprit in culprits:
        label = f"  {say(culprit.label)}" if culprit.label else ""
        facts = say(Phrase("loss {loss:.4f}  weight {weight:g}", loss=culprit.loss, weight=culprit.weight))
        console.rule(Text(f"{culprit.row_id}{label}  {facts}"), align="left")
        if culprit.prompt != before:
            console.print(culprit.prompt, style="dim", markup=False, highlight=False)
        before = culprit.prompt
        console.print(culprit.answer, style="bold", markup=False, highlight=False)
