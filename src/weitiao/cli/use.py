"""`weitiao chat`, `score`, `merge`, `doctor` and `schema`."""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from random import randrange
from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result, results
from weitiao.cli.options import BaseModelName, EngineOption, Json, OnBadRows, base_config
from weitiao.console import quoted


def chat(
    target: Annotated[str, typer.Argument(help="A run directory, an adapter directory, or a model.")],
    compare: Annotated[bool, typer.Option("--compare", help="Answer from the base and the tuned model.")] = False,
    base: Annotated[bool, typer.Option("--base", help="Answer from the base model, without the adapter.")] = False,
    base_model: BaseModelName = None,
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens after which an answer is broken off.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: the most likely token; above 0: draw.")] = 0.0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draws; a new one each time by default.")] = None,
    why: Annotated[bool, typer.Option("--why", help="Show how likely each token was, and what else was.")] = False,
    engine: EngineOption = "own",
) -> None:
    """Talk with a model on the terminal.

    Reads from a file or a pipe as well: each line is a prompt of its own, and its answer goes to stdout.

    Examples:

        weitiao chat runs/tickets

        weitiao chat runs/tickets --compare

        weitiao chat runs/tickets --why

        weitiao chat smollm2-135m --system "Answer in one word." --temperature 0.7

        weitiao chat runs/tickets < prompts.txt > answers.txt
    """
    from rich.text import Text

    from weitiao.serve.engine import Request
    from weitiao.study.chat import ChatSettings, open_speakers
    from weitiao.study.engines import EngineSettings
    from weitiao.terminal.chat import chat_by_lines, chat_interactively

    if base and compare:
        raise typer.BadParameter("--compare shows the base model as well: leave --base out.")
    how = Request(
        prompt=(),
        max_tokens=max_new_tokens,
        temperature=temperature,
        seed=randrange(2**32) if seed is None else seed,
    )
    names = ("base", "tuned") if compare else ("base",) if base else ("tuned",)
    settings = ChatSettings(speakers=names, how=how, system=system, why=why)
    with ExitStack() as stack:
        with messages().status(Text(f"Loading {target}"), spinner="line"):
            run = EngineSettings(engine=engine, slots=1, base=base_config(base_model))
            speakers = stack.enter_context(open_speakers(target, settings, run))
        if sys.stdin.isatty():
            with suppress(ImportError):  # where there is one, it gives `input` line editing and a history
                import readline  # noqa: F401
            chat_interactively(speakers, results(), read=input, why=why)
        else:
            chat_by_lines(speakers, sys.stdin, results(), why=why)


def score(
    model: Annotated[str, typer.Argument(help="A run with objective: reward, or any reward model with one label.")],
    data: Annotated[
        str, typer.Option("--data", help="Conversations, prompts with answers, pairs of answers, or answers in steps.")
    ],
    output: Annotated[Path | None, typer.Option(help="JSON Lines with the score of each row.")] = None,
    base_model: BaseModelName = None,
    on_bad_rows: OnBadRows = "error",
    json: Json = False,
) -> None:
    """Score answers with a reward model.

    Without --output and --json the scores go to stdout, one JSON object a row.

    Examples:

        weitiao score runs/reward --data answers.jsonl --output scores.jsonl

        weitiao score owner/reward-model --data pairs.jsonl --json
    """
    from json import dumps

    from rich.text import Text

    from weitiao.files import write_lines
    from weitiao.methods.scorer import open_scorer
    from weitiao.study.score import score_rows
    from weitiao.study.setup import device_here
    from weitiao.terminal.progress import teller
    from weitiao.terminal.rewards import print_report

    with messages().status(Text(f"Loading {model}"), spinner="line"):
        scorer = open_scorer(model, base=base_config(base_model), device=device_here())
    report, rows = score_rows(scorer, data, on_bad_rows=on_bad_rows, tell=teller(messages()))
    if output is not None:
        write_lines(output, rows)
    elif not json:
        for row in rows:
            typer.echo(dumps(row, ensure_ascii=False))
    if json:
        print_json(report)
    else:
        print_report(report, messages())


def merge(
    target: Annotated[Path, typer.Argument(help="A run directory, or an adapter directory.")],
    output: Annotated[Path, typer.Argument(help="Where the model goes: a new or empty directory.")],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Number format of the weights; that of the base model by default."),
    ] = None,
    base_model: BaseModelName = None,
    json: Json = False,
) -> None:
    """Merge an adapter into its base model, and check that the result answers as the two do.

    The result is a plain Hugging Face model. It is loaded again from disk and its logits on probe prompts are
    compared with those of base and adapter; when they disagree, nothing is kept and the exit code is 3.

    Examples:

        weitiao merge runs/tickets models/tickets

        weitiao merge runs/tickets models/tickets-bf16 --dtype bfloat16
    """
    from weitiao.export.merge import merge as run_merge

    console = messages()
    merged = run_merge(target, output, base=base_config(base_model), dtype=dtype)
    agreement = merged.agreement
    lost = "none to lose" if agreement.lost_effect is None else f"{agreement.lost_effect:.2%} lost to rounding"
    closing_panel(
        console,
        "Merged",
        [
            ("model", str(merged.path)),
            ("weights", f"{merged.num_parameters:,} in {merged.dtype}, {merged.size_bytes / 2**20:,.0f} MiB"),
            ("checked", f"{agreement.num_positions:,} positions of {agreement.num_prompts} prompts"),
            ("logits", f"differ by at most {agreement.relative_difference:.1e} of their scale"),
            ("effect", lost),
            ("top token", f"the same at {agreement.top1_agreement:.1%}"),
        ],
        [f"weitiao chat {quoted(merged.path)}"],
    )
    if json:
        print_json(merged)


def doctor(json: Json = False) -> None:
    """Show what is installed, what works on this machine, and how to get the rest.

    Examples:

        weitiao doctor

        weitiao doctor --json
    """
    from weitiao.machine.doctor import diagnose
    from weitiao.terminal.doctor import print_report

    report = diagnose()
    print_result(report, print_report, json=json)


def schema(
    section: Annotated[str | None, typer.Argument(help="A section of the recipe, for instance `train`.")] = None,
) -> None:
    """Print the JSON Schema of a recipe, for editors and programs: every setting, its type, default and meaning.

    Examples:

        weitiao schema

        weitiao schema train

        weitiao schema > recipe.schema.json
    """
    from weitiao.recipe.schema import recipe_schema

    print_json(recipe_schema(section), indent=2)
