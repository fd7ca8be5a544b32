"""`weitiao serve` and `batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.cli.options import BaseModelName, EngineOption, Json, OnBadRows, base_config
from weitiao.console import quoted

if TYPE_CHECKING:
    from weitiao.serve.models import Models
    from weitiao.serve.routing import Routes


def serve(
    targets: Annotated[list[str], typer.Argument(help="GGUF files, runs, models; NAME=TARGET gives a name.")],
    engine: EngineOption = "auto",
    host: Annotated[str, typer.Option(help="Other than 127.0.0.1 it needs an API key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    api_key: Annotated[str | None, typer.Option(help="Clients have to bring it; --api-key-file hides it.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="A file with keys, one a line.")] = None,
    adapter: Annotated[list[str] | None, typer.Option(help="A LoRA adapter: NAME=PATH. Repeatable.")] = None,
    adapters: Annotated[
        list[Path] | None, typer.Option(help="A folder from which adapters may be loaded while it runs. Repeatable.")
    ] = None,
    route: Annotated[
        str | None, typer.Option(help="Shares of users behind the name `default`: tuned=0.2,base=0.8.")
    ] = None,
    feedback: Annotated[Path | None, typer.Option(help="A file (SQLite) for answers and what is said of them.")] = None,
    texts: Annotated[bool, typer.Option(help="Whether that file keeps prompts and answers.")] = True,
    keep_days: Annotated[float | None, typer.Option(min=0.0, help="Days after which it forgets them.")] = None,
    quantization: Annotated[
        Literal["nf4", "fp4", "int8"] | None, typer.Option(help="What our own engine rounds untuned weights to.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Chat template instead of the model's own: alpaca, chatml, or a .jinja file.")
    ] = None,
    vllm: Annotated[Path, typer.Option(help="The program of vLLM, or the folder of its environment.")] = Path("vllm"),
    slots: Annotated[int, typer.Option(min=1, help="Answers that are written at once.")] = 4,
    context: Annotated[int | None, typer.Option(min=16, help="Tokens of prompt and answer together.")] = None,
    max_prompt: Annotated[int | None, typer.Option(min=1, help="Tokens of a prompt at most.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 4096,
    max_body: Annotated[int, typer.Option(min=1024, help="Bytes of a request at most.")] = 2**21,
    queue: Annotated[int, typer.Option(min=0, help="Requests that wait for a slot; more are refused (429).")] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 600.0,
    json: Annotated[bool, typer.Option("--json", help="Say when it is ready as one JSON object on stdout.")] = False,
) -> None:
    """Serve models behind the API of OpenAI.

    Examples:

        weitiao serve smollm2-135m

        weitiao serve tuned=runs/tickets/export/gguf-q8_0/model.gguf --port 8080

        weitiao serve tuned=runs/tickets base=smollm2-135m --route tuned=0.2,base=0.8 --feedback feedback.db

        weitiao serve model.gguf --host 0.0.0.0 --api-key-file keys.txt
    """
    from rich.text import Text

    from weitiao.serve.limits import Limits
    from weitiao.serve.routing import ROUTE
    from weitiao.study.engines import EngineSettings
    from weitiao.study.serve import Serving, shares
    from weitiao.study.serve import serve as run

    engines = EngineSettings(
        engine=engine, slots=slots, context=context, adapters=_adapters(adapter or ()), quantization=quantization,
        template=template, vllm=vllm,
    )  # fmt: skip
    serving = Serving(
        engines=engines, host=host, port=port, keys=_keys(api_key, api_key_file),
        route={} if route is None else shares(route), adapter_folders=tuple(adapters or ()),
        feedback=feedback, keep_texts=texts, keep_days=keep_days,
        limits=Limits(
            prompt_tokens=max_prompt, answer_tokens=max_tokens, body_bytes=max_body, queue=queue, seconds=timeout
        ),
    )  # fmt: skip
    console = messages()
    with console.status(Text(f"Loading {', '.join(targets)}"), spinner="line") as status:

        def ready(url: str, models: Models, routes: Routes) -> None:
            status.stop()
            if json:
                print_json({"url": url, "models": [one.name for one in models]})
            facts = [("address", f"{url}/v1")]
            facts += [(one.name, f"{one.engine.served.name}, {one.source}") for one in models.writers]
            facts += [(one.name, f"scores, {one.source}") for one in models.judges]
            if routes.weights:
                again = ", as it was set last" if routes.weights != serving.route else ""
                facts.append((ROUTE, ", ".join(f"{one} {share:.0%}" for one, share in routes.weights.items()) + again))
            call = f"curl {url}/v1/models"
            closing_panel(console, "Serving", facts, [call, "Ctrl-C ends it, when the running answers are finished"])

        run(targets, serving, on_ready=ready)


def batch(
    target: Annotated[str, typer.Argument(help="A run directory, an adapter, a model, or a GGUF file.")],
    data: Annotated[str, typer.Option("--data", help="Rows with messages, prompts or instructions.")],
    output: Annotated[Path, typer.Option(help="Where the answers go: JSON Lines, in the order of the rows.")],
    base_model: BaseModelName = None,
    engine: EngineOption = "own",
    system: Annotated[str | None, typer.Option(help="A system message for rows that have none.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens after which an answer is broken off.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: the most likely token; above 0: draw.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=1e-6, max=1.0, help="Draw from the likely tokens of this share.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    schema: Annotated[Path | None, typer.Option(help="A file with a JSON Schema that answers have to fit.")] = None,
    slots: Annotated[int, typer.Option(min=1, help="Answers that are written at once.")] = 16,
    on_bad_rows: OnBadRows = "error",
    json: Json = False,
) -> None:
    """Answer the prompts of a file.

    Each answer is kept as soon as it is ready: the same command goes on where one was ended, by Ctrl-C or by a kill.

    Examples:

        weitiao batch runs/tickets --data prompts.jsonl --output answers.jsonl

        weitiao batch model.gguf --engine llama.cpp --data prompts.csv --output answers.jsonl

        weitiao batch smollm2-135m --data rows.jsonl --schema person.schema.json --output people.jsonl
    """
    from weitiao.serve.engine import Request
    from weitiao.study.batch import BatchSettings
    from weitiao.study.batch import batch as run
    from weitiao.study.engines import EngineSettings
    from weitiao.terminal.progress import answer_progress, duration, teller

    console = messages()
    how = Request(
        prompt=(), max_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed, schema=_schema(schema)
    )
    settings = BatchSettings(data=data, output=output, how=how, system=system, on_bad_rows=on_bad_rows)
    with answer_progress(console, batch_size=slots) as on_progress:
        report = run(
            target,
            settings,
            EngineSettings(engine=engine, slots=slots, base=base_config(base_model)),
            tell=teller(console),
            on_progress=on_progress,
        )
    speed = report.completion_tokens / max(report.seconds, 1e-6)
    before = f", {report.before:,} of them before" if report.before else ""
    rejected = f", {report.rejected:,} rows rejected" if report.rejected else ""
    facts = [
        ("answers", f"{report.answers:,}{before}{rejected}"),
        ("ended", ", ".join(f"{count:,} by {name}" for name, count in sorted(report.finish.items())) or "none now"),
        ("prompts", f"{report.prompt_tokens:,} tokens, {report.cached_tokens:,} of them known from others"),
        ("written", f"{report.completion_tokens:,} tokens in {duration(report.seconds)}, {speed:,.0f} tokens/s"),
        ("file", str(output)),
    ]
    closing_panel(console, "Answered", facts, [f"head -n 1 {quoted(output)}"])
    if json:
        print_json(report)


def _schema(file: Path | None) -> dict[str, Any] | None:
    from weitiao.models.directory import read_json_object

    return None if file is None else read_json_object(file)


def _keys(key: str | None, file: Path | None) -> tuple[str, ...]:
    from weitiao.paths import read_text
    from weitiao.serve.engine import ServeError

    lines = [] if file is None else read_text(file, ServeError, what="--api-key-file: ").splitlines()
    keys = tuple(one.strip() for one in (key or "", *lines) if one.strip())
    if file is not None and not keys:
        raise ServeError(f"--api-key-file: there is no key in {file}.", "Write one into it.")
    return keys


def _adapters(named: list[str] | tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for one in named:
        name, equals, path = one.partition("=")
        if not equals or not name or not path:
            raise typer.BadParameter(f"--adapter: {one} is not NAME=PATH.")
        found[name] = Path(path)
    return found
