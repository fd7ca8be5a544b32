"""`weitiao feedback`: pairs of answers, who judges them, and the preferences that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result
from weitiao.cli.options import Json
from weitiao.console import quoted

Store = Annotated[Path, typer.Argument(help="The file with pairs and judgements (SQLite).")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="So many pairs only.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides the draws, and which answer is shown first.")]


def sample(
    store: Store,
    targets: Annotated[list[str], typer.Argument(help="Runs, adapters or models that answer; base:RUN for a base.")],
    data: Annotated[
        Path, typer.Option(help="Rows whose prompts are asked: a file, or a run or recipe whose test rows.")
    ],
    samples: Annotated[int, typer.Option(min=1, help="Answers of each model to each prompt.")] = 2,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of each prompt at most: those that differ most.")] = 1,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="The first so many rows only.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 writes the most likely answer.")] = 0.8,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Draw from the most likely tokens only.")] = 0.95,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 256,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Let models answer prompts, and keep pairs of their answers to be judged.

    Examples:

        weitiao feedback sample tickets.db runs/tickets --data questions.jsonl

        weitiao feedback sample tickets.db base:runs/tickets runs/tickets --data questions.jsonl --samples 1
    """
    from weitiao.feedback.store import FeedbackStore
    from weitiao.generation.config import GenerationConfig
    from weitiao.study.drawing import sample_answers
    from weitiao.study.feedback import prompts_of
    from weitiao.terminal.progress import teller

    generation = GenerationConfig(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed)
    console = messages()
    found = sample_answers(
        targets, FeedbackStore(store), prompts_of(data, limit), samples=samples, pairs=pairs,
        generation=generation, console=console, tell=teller(console),
    )  # fmt: skip
    if json:
        print_json(found)
    next_steps = [f"weitiao feedback label {quoted(store)}", f"weitiao feedback judge {quoted(store)} MODEL"]
    closing_panel(console, "Sampled", [("store", str(store)), ("new pairs", f"{found.pairs:,}")], next_steps)


def label(
    store: Store,
    name: Annotated[str, typer.Option("--as", help="Who judges; several people can use one store.")] = "",
    limit: Limit = None,
    seed: Seed = 0,
) -> None:
    """Judge pairs of answers in the terminal, without knowing whose they are. Undo works, and a session goes on later.

    Examples:

        weitiao feedback label tickets.db --as ada --limit 50
    """
    from weitiao.feedback.sitting import person
    from weitiao.feedback.store import FeedbackStore
    from weitiao.study.feedback import judge_pairs

    judge_pairs(FeedbackStore(store), [person(name)], limit=limit, seed=seed, console=messages())
    closing_panel(messages(), "Judged", [("store", str(store))], [f"weitiao feedback status {quoted(store)}"])


def judge(
    store: Store,
    model: Annotated[str, typer.Argument(help="A model, run or adapter, or a server as URL#MODEL.")],
    language: Annotated[Literal["en", "zh"], typer.Option(help="Language of the built-in question.")] = "en",
    template: Annotated[
        Path | None, typer.Option(help="A question of your own, with your rubric or principles.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="A file with the key of the server.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Requests that a server has to answer at the same time.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for a reply of a server.")] = 120.0,
    per_minute: Annotated[
        float | None, typer.Option(min=0.01, help="Requests to a server in a minute at most.")
    ] = None,
    price: Annotated[
        tuple[float, float] | None, typer.Option(help="Of a million tokens that a server reads, and that it writes.")
    ] = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Let a model judge pairs of answers, each in both orders; what is judged already is not asked again.

    Where it contradicts itself, the pair is a tie. A reply that names neither answer is counted, and asked for again
    next time, and so is what a server did not answer in time. What a server used is told and kept in the store.

    Examples:

        weitiao feedback judge tickets.db smollm2-135m

        weitiao feedback judge tickets.db https://api.example.com/v1#large --key key.txt --per-minute 60 --price 0.4 1.6

        weitiao feedback judge tickets.db http://127.0.0.1:8000/v1#qwen3-8b --template rubric.txt
    """
    from weitiao.evaluation.judges.pairwise import JudgeConfig
    from weitiao.feedback.store import FeedbackStore
    from weitiao.study.feedback import judge_pairs
    from weitiao.terminal.feedback import print_judges

    config = JudgeConfig(
        model=model, language=language, template=template, api_key_file=key, requests_at_once=at_once,
        timeout_seconds=timeout, requests_per_minute=per_minute, price=price,
    )  # fmt: skip
    found = judge_pairs(FeedbackStore(store), [config], limit=limit, seed=0, console=messages())
    print_result(found, print_judges, json=json)
    closing_panel(messages(), "Judged", [("store", str(store))], [f"weitiao feedback status {quoted(store)}"])


def status(store: Store, json: Json = False) -> None:
    """Show what a store holds: judges, how often place decided, and how far they agree (kappa, alpha, disputed pairs).

    Examples:

        weitiao feedback status tickets.db --json
    """
    from weitiao.feedback.store import FeedbackStore
    from weitiao.study.feedback import status as status_of
    from weitiao.terminal.feedback import print_status

    print_result(status_of(FeedbackStore(store)), print_status, json=json)


def export(
    store: Store,
    output: Annotated[Path, typer.Argument(help="The file: .jsonl, .json or .parquet.")],
    form: Annotated[
        Literal["preference", "all"],
        typer.Option(help="preference: rows to learn from; all: every pair with all that was said."),
    ] = "preference",
    judge: Annotated[list[str] | None, typer.Option(help="Whose judgements decide; by default those of all.")] = None,
    json: Json = False,
) -> None:
    """Write the preferences in a store as data: pairs with more judges for one answer than for the other.

    Examples:

        weitiao feedback export tickets.db preferences.jsonl

        weitiao feedback export tickets.db everything.jsonl --form all
    """
    from weitiao.feedback.store import FeedbackStore
    from weitiao.study.feedback import export_feedback

    found = export_feedback(FeedbackStore(store), output, form=form, judges=judge or ())
    if json:
        print_json(found)
    facts = [("file", str(output)), ("rows", f"{found.pairs:,}; {found.left_out:,} pairs without a winner")]
    closing_panel(messages(), "Exported", facts, [f"weitiao data check {quoted(output)}"])


def import_(
    store: Store,
    source: Annotated[Path, typer.Argument(help="A file of preferences, or what `export --form all` wrote.")],
    json: Json = False,
) -> None:
    """Take preferences of a file into a store, or all of another store.

    Examples:

        weitiao feedback import tickets.db preferences.json
    """
    from weitiao.feedback.store import FeedbackStore
    from weitiao.study.feedback import import_feedback

    found = import_feedback(FeedbackStore(store), source)
    if json:
        print_json(found)
    facts = [("store", str(store)), ("new", f"{found.pairs:,} pairs, {found.judgements:,} judgements")]
    closing_panel(messages(), "Imported", facts, [f"weitiao feedback status {quoted(store)}"])
