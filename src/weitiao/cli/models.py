"""`weitiao model info` and `get`: what a model is, and bringing it here."""

from __future__ import annotations

from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result
from weitiao.cli.options import Json
from weitiao.console import quoted

Name = Annotated[
    str, typer.Argument(help="A catalogue name, a directory, a .gguf file, a hub id, or modelscope:OWNER/NAME.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Let Python code that comes with the model run.")]
Pickle = Annotated[bool, typer.Option("--allow-pickle", help="Take weights in .bin files where there are no others.")]


def info(
    model: Name, revision: Revision = None, trust_remote_code: Trust = False, allow_pickle: Pickle = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Say what a model is: sizes, context, template, licence, what is special, and whether it fits here.

    Its configuration and the headers of its files are read, not its weights.

    Examples:

        weitiao model info smollm2-135m

        weitiao model info models/mine --json
    """
    from weitiao.machine.hardware import detect_hardware
    from weitiao.models.config import ModelConfig
    from weitiao.models.description import describe_model
    from weitiao.terminal.plan import print_model

    config = ModelConfig(name=model, revision=revision, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle)
    found = describe_model(config)
    print_result(found, lambda one, console: print_model(one, detect_hardware(), console), json=json)
    closing_panel(messages(), "Model", [("name", found.name)], [f"weitiao plan --model {quoted(model)}"])


def get(
    model: Name, revision: Revision = None, trust_remote_code: Trust = False, allow_pickle: Pickle = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Bring a model to this machine, hold its files against the hub's hashes, and say where it lies.

    What a download that broke off has brought is kept. HF_ENDPOINT names another hub (a mirror), HF_HOME the place of
    files.

    Examples:

        weitiao model get HuggingFaceTB/SmolLM2-360M-Instruct

        HF_ENDPOINT=https://hf-mirror.com weitiao model get Qwen/Qwen3-0.6B

        weitiao model get modelscope:Qwen/Qwen3-0.6B
    """
    from weitiao.models.config import ModelConfig
    from weitiao.models.fetch import fetch_model

    config = ModelConfig(name=model, revision=revision, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle)
    found = fetch_model(config)
    checked = "" if found.num_checked is None else f", {found.num_checked} held against the hub's hashes"
    rows = [("lies in", str(found.path)), ("files", f"{found.num_files}, {found.num_bytes / 2**20:,.0f} MiB{checked}")]
    closing_panel(messages(), "Here", rows, [f"weitiao model info {quoted(model)}"])
    if json:
        print_json(found)
