"""`weitiao init`, `show`, `demo` and `baseline`: from data to what is possible without tuning."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import BaseModelName, Json, Overrides, ReportLanguage, base_settings
from weitiao.cli.training import print_outcome
from weitiao.console import quoted
from weitiao.errors import Phrase

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.baseline.advice import Advice
    from weitiao.demo.run import DemoResult


def init(
    files: Annotated[list[str], typer.Argument(help="Data files; a name with `test` or `validation` says the part.")],
    output: Annotated[Path | None, typer.Option(help="The recipe; recipe.yaml beside the first file if none.")] = None,
    model: Annotated[str, typer.Option(help="The base model.")] = "smollm2-135m",
    json: Json = False,
) -> None:
    """Write a first recipe from data: what its columns mean, how answers are scored, what is held out.

    Nothing is overwritten. The recipe is a commented YAML file to be read and changed.

    Examples:

        weitiao init tickets.csv

        weitiao init train.jsonl test.jsonl --output tickets.yaml
    """
    from weitiao.study.init.run import init_recipe
    from weitiao.terminal.progress import teller

    console = messages()
    made = init_recipe(files, output, model=model, tell=teller(console))
    if json:
        print_json(made)
    recipe = quoted(made.path)
    closing_panel(
        console,
        "First recipe",
        [("recipe", str(made.path)), ("scored by", ", ".join(made.metrics))],
        [
            f"weitiao {verb} {recipe}"
            for verb in ("data check", "show", *(("train",) if made.task == "text" else ("baseline", "run")))
        ],
    )


def show(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory.")],
    overrides: Overrides = None,
    num: Annotated[int, typer.Option("-n", "--num", min=1, help="How many examples.")] = 3,
    base_model: BaseModelName = None,
) -> None:
    """Show what the model will see: rendered examples, the learned tokens marked.

    Examples:

        weitiao show recipe.yaml

        weitiao show recipe.yaml rendering.template=alpaca -n 1
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.dataset import load_shown
    from weitiao.terminal.progress import teller
    from weitiao.terminal.tokens import show_sequences

    console = messages()
    settings = load_recipe(recipe, [*(overrides or ()), *base_settings(base_model)])
    shown = load_shown(settings, tell=teller(console))
    word = "scored" if settings.objective.gives_scores else "learned"
    show_sequences(shown.sequences, shown.tokenizer, results(), num, word=word)
    if settings.objective.writes:
        console.print("Prompts alone: the model writes the answers that it learns from.")


def demo(
    output: Annotated[Path, typer.Option(help="Where data and run go.")] = Path("runs/demo"),
    model: Annotated[str, typer.Option(help="The model that learns.")] = "smollm2-135m",
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and training.")] = 0,
    rows: Annotated[int, typer.Option(min=16, help="Training rows.")] = 480,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Teach a small model a task that it cannot do, and show whether it is worth shipping.

    The whole work of `weitiao run` on customer messages that become one line of JSON with five typed fields: data
    check, prompting, training, evaluation, what was forgotten, verdict and report. The data is generated from a seed;
    the test messages are worded differently from the training ones. Takes some minutes on two cores.

    Examples:

        weitiao demo

        weitiao demo --output /data/demo --json
    """
    from weitiao.demo.run import METRIC, run_demo

    console = messages(language)
    result = run_demo(output, model=model, seed=seed, num_train=rows, language=language, console=console)
    work, best = result.work, result.baseline.best
    if json:
        print_json(result.to_dict())
    else:
        print_outcome(work, results(), language)
        _print_answers(result, results())
    closing_panel(
        console,
        "Demo",
        [
            ("verdict", work.verdict.decision if work.verdict else "none"),
            ("untuned, zero-shot", str(result.before.metrics[METRIC])),
            (f"untuned, {best.prompt}", str(best.metrics[METRIC])),
            ("tuned", str(result.after)),
            ("report", str(work.report)),
            ("run", str(work.path)),
        ],
        [
            f"weitiao chat {quoted(work.path)} --compare",
            f"weitiao show {quoted(work.path)}",
            f"weitiao merge {quoted(work.path)} {quoted(output / 'merged')}",
        ],
    )


def _print_answers(result: DemoResult, console: Console, num: int = 3) -> None:
    """The same messages, answered by the untuned model with its best prompt, and by the tuned one."""
    from rich.box import HEAVY_HEAD

    from weitiao.terminal.tables import table

    before = {one.row_id: one.answer for one in result.answers_before()}
    rows = []
    for after in result.predictions[:num]:
        message = str(after.messages[-1]["content"]).split("\n", 1)[-1]
        outcome = "right" if after.correct else f"wrong: {after.expected}"
        rows.append((message, before[after.row_id], after.answer, outcome))
    headings = ("message", f"untuned, {result.baseline.best.prompt}", "tuned", "")
    console.print(table(headings, rows, words=range(4), box=HEAVY_HEAD, pad_edge=True, show_lines=True))


def baseline(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory.")],
    overrides: Overrides = None,
    models: Annotated[str | None, typer.Option(help="Candidate models, separated by commas.")] = None,
    shots: Annotated[str | None, typer.Option(help="Numbers of solved examples to try, separated by commas.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask so many test rows only, drawn by a seed.")] = None,
    base_model: BaseModelName = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Find out how far prompting goes: models and prompts on the test rows, the gap that is left, and whether to tune.

    Examples:

        weitiao baseline recipe.yaml

        weitiao baseline recipe.yaml --shots 0,4,8 baseline.selection=nearest

        weitiao baseline recipe.yaml --models smollm2-135m,models/qwen --limit 200 verdict.target=0.8 --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.baseline.run import run_baseline
    from weitiao.terminal.baseline import print_baseline, print_gap
    from weitiao.terminal.console import wording_of

    console = messages(language)
    settings = [*(overrides or ()), *base_settings(base_model)]
    settings += [] if models is None else [f"baseline.models={dumps(_words(models))}"]
    settings += [] if shots is None else [f"baseline.shots={dumps(list(map(_number, _words(shots))))}"]
    settings += [] if limit is None else [f"baseline.limit={limit}"]
    loaded = load_recipe(recipe, settings)
    found = run_baseline(loaded, console=console)
    if json:
        print_json({**asdict(found.baseline), "gap": found.gap})
    else:
        out = results(language)
        print_baseline(found.baseline, out)
        out.print()
        print_gap(found.gap, out)
    advice = found.baseline.advice
    tried = any("nearest" in cell.prompt for cell in found.baseline.cells)
    answers = found.directory / found.baseline.best.predictions
    words = wording_of(console)
    closing_panel(
        console,
        words.phrase(Phrase("Baseline: {decision}", decision=words(f"done.baseline.{advice.decision}"))),
        [("baseline", str(found.baseline_path)), ("gap", str(found.gap_path)), ("answers", str(answers))],
        _next(advice, recipe, tuned=loaded.model.name, target=found.baseline.target, tried=tried),
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(word: str) -> int | str:
    """The number that a word is; another word stays, for the recipe to refuse."""
    return int(word) if word.isdecimal() else word


def _next(advice: Advice, recipe: Path, *, tuned: str, target: float | None, tried: bool) -> list[str]:
    """What to type next."""
    if advice.decision == "prompting suffices":
        return [f"weitiao chat {quoted(advice.model)}"]
    if target is None:
        return [f"weitiao baseline {quoted(recipe)} verdict.target=0.8"]
    more = [] if tried else [f"weitiao baseline {quoted(recipe)} baseline.selection=[random,nearest]"]
    other = "" if advice.model == tuned else f" model={quoted(advice.model)}"
    return [*more, f"weitiao train {quoted(recipe)}{other}"]
