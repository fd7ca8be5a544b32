"""`weitiao eval`, `retention`, `compare`, `verdict` and `report`: better at the task, nothing forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import BaseModelName, Json, Overrides, ReportLanguage, base_config, base_settings
from weitiao.console import quoted
from weitiao.errors import Phrase


def eval(
    target: Annotated[Path, typer.Argument(help="A run directory, or a recipe file for the untuned model.")],
    overrides: Overrides = None,
    base: Annotated[bool, typer.Option("--base", help="Score the run's base model instead.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first so many test rows only.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the files go; the run directory by default.")] = None,
    base_model: BaseModelName = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Score a model on held-out rows, loss on the validation part and answers on the test part, and on benchmarks.

    Examples:

        weitiao eval runs/tickets

        weitiao eval runs/tickets --base

        weitiao eval recipe.yaml --limit 100 evaluate.metrics=[number,my.py:score]

        weitiao eval runs/tickets evaluate.benchmarks=[arc_easy] evaluate.benchmark_limit=200

        weitiao eval runs/tickets data.test=new.jsonl --output scores/new --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.evaluate import evaluate_recipe
    from weitiao.terminal.scores import print_scores

    console = messages(language)
    settings = [*(overrides or ()), *([] if limit is None else [f"evaluate.limit={limit}"]), *base_settings(base_model)]
    tuned = target.is_dir() and not base
    recipe = load_recipe(target, settings)
    scored = evaluate_recipe(recipe, tuned=tuned, output=output, console=console)
    if json:
        print_json(scored.to_dict())
    else:
        print_scores(scored.scores, scored.predictions, results(language), title=scored.name)
    facts = [("scores", str(scored.scores_path)), ("answers", str(scored.predictions_path))]
    if recipe.objective.gives_scores:
        facts, commands = facts[:1], [f"weitiao score {quoted(target)} --data FILE", f"weitiao report {quoted(target)}"]
    elif scored.tuned:
        commands = [f"weitiao eval {quoted(target)} --base", f"weitiao chat {quoted(target)} --compare"]
    else:
        commands = [f"weitiao eval {quoted(target)}"] if target.is_dir() else [f"weitiao train {quoted(target)}"]
    closing_panel(console, "Evaluated", facts, commands)


def retention(
    target: Annotated[str, typer.Argument(help="A run directory, a recipe file, or a model.")],
    overrides: Overrides = None,
    base: Annotated[bool, typer.Option("--base", help="Score the run's base model only.")] = False,
    suite: Annotated[
        Literal["small", "full"] | None, typer.Option(help="Instead of the recipe's retention.suite.")
    ] = None,
    base_model: BaseModelName = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Show what a model knows outside its task, and what of that a training left: general knowledge, instructions,
    arithmetic and the loss on general text, in English and Chinese.

    Examples:

        weitiao retention runs/tickets

        weitiao retention recipe.yaml --suite small

        weitiao retention smollm2-135m --json
    """
    from weitiao.study.retention import retention_target
    from weitiao.terminal.verdict import print_retention, print_retention_change

    console = messages(language)
    found = retention_target(
        target,
        overrides or (),
        base=base,
        suite=suite,
        base_model=base_config(base_model),
        console=console,
    )
    scores = found.after or found.before
    assert scores is not None
    if json:
        print_json(found.to_dict())
    elif found.comparison is not None:
        print_retention_change(found.comparison, results(language), title=found.name)
    else:
        print_retention(scores, results(language), title=found.name)
    from weitiao.terminal.console import wording_of
    from weitiao.terminal.progress import duration

    say = wording_of(console).phrase
    facts = [("time", duration(scores.seconds, language)), *(("scores", str(path)) for path in found.paths)]
    if found.comparison is not None:
        facts.insert(0, ("lost", ", ".join(found.comparison.lost) or say("nothing that is certain")))
        if worse := ", ".join(found.comparison.worse):
            facts.insert(1, ("worse", say(Phrase("{names} (not surely by more than is tolerated)", names=worse))))
    closing_panel(console, "Retention", facts, [f"weitiao eval {quoted(target)}"] if found.paths else [])


def compare(
    a: Annotated[str, typer.Argument(help="What was before: a run, an adapter, a model, base:RUN, or predictions.")],
    b: Annotated[str, typer.Argument(help="What came after, named in the same ways.")],
    data: Annotated[Path | None, typer.Option(help="A file of test rows.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe whose test rows and settings count.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare the first so many test rows only.")] = None,
    judge: Annotated[
        list[str] | None, typer.Option(help="Who prefers one of two answers: human, human:NAME, a model, or URL#MODEL.")
    ] = None,
    judge_language: Annotated[
        Literal["en", "zh"], typer.Option(help="Language of the question to a judge model.")
    ] = "en",
    judge_template: Annotated[Path | None, typer.Option(help="A question of your own to a judge model.")] = None,
    judge_key: Annotated[Path | None, typer.Option(help="A file with the key of the judge's server.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order in which a person sees the answers.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Where the files go; compare-A-B in the run directory by default.")
    ] = None,
    base_model: BaseModelName = None,
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Compare two models on the same test rows: what got better, what got worse, and whether it is more than chance.

    With --judge, a person or a judge model also says which of two answers is better, without knowing whose they are.

    Examples:

        weitiao compare base:runs/tickets runs/tickets

        weitiao compare runs/tickets runs/tickets-2 --limit 100 --json

        weitiao compare base:runs/tickets runs/tickets --judge human

        weitiao compare smollm2-135m runs/tickets --data new.jsonl --judge http://127.0.0.1:8000/v1#qwen3-8b

        weitiao compare old/predictions.jsonl new/predictions.jsonl
    """
    from weitiao.evaluation.judges.pairwise import JudgeConfig
    from weitiao.feedback.sitting import is_person
    from weitiao.study.compare.run import compare_targets
    from weitiao.terminal.comparison import print_comparison, print_preferences

    console = messages(language)
    asking = {"language": judge_language, "template": judge_template, "api_key_file": judge_key}
    judges = [one if is_person(one) else JudgeConfig.model_validate({"model": one, **asking}) for one in judge or ()]
    compared = compare_targets(
        a,
        b,
        data=data,
        recipe=recipe,
        limit=limit,
        judges=judges,
        seed=seed,
        output=output,
        base_model=base_config(base_model),
        console=console,
    )
    if json:
        print_json(compared.to_dict())
    else:
        out = results(language)
        print_comparison(compared.comparison, out)
        if compared.preferences is not None:
            out.print()
            print_preferences(compared.preferences, (a, b), out)
    facts = [("comparison", str(compared.path))]
    commands = [f"weitiao chat {quoted(b)} --compare"] if Path(b, "recipe.yaml").exists() else []
    if compared.preferences is None:
        commands.insert(0, f"weitiao compare {quoted(a)} {quoted(b)} --judge human")
    closing_panel(console, "Compared", facts, commands)


def verdict(
    run: Annotated[Path, typer.Argument(help="A run directory with a verdict.")],
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Show again whether a run's model is to be shipped, and why.

    Exit codes: 0 ship, 3 do not ship, 4 undecided.

    Examples:

        weitiao verdict runs/tickets

        weitiao verdict runs/tickets --json
    """
    from weitiao.study.verdict import verdict_of
    from weitiao.terminal.verdict import verdict_panel
    from weitiao.verdict.verdict import verdict_values

    found = verdict_of(run)
    if json:
        print_json(verdict_values(found))
    else:
        results().print(verdict_panel(found, language))
    raise typer.Exit(found.exit_code)


def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    output: Annotated[Path | None, typer.Option(help="The file; report.html in the run directory by default.")] = None,
    language: ReportLanguage = "en",
    open: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    json: Json = False,
) -> None:
    """Write a run as one page: verdict, scores, gap, retention, loss, examples, data, time, and how to reproduce it.

    The page needs no network and no other file. It is made from what lies in the run directory; what is missing there
    is named, with the command that makes it.

    Examples:

        weitiao report runs/tickets

        weitiao report runs/tickets --language zh --output report-zh.html --open
    """
    from weitiao.report.render import write_report

    console = messages(language)
    path = write_report(run, output=output, language=language)
    if json:
        print_json({"path": str(path)})
    closing_panel(console, "Reported", [("page", str(path))], [f"weitiao run {quoted(run)}"])
    if open:
        typer.launch(path.resolve().as_uri())
