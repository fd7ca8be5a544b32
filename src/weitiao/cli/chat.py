"""`weitiao chat`."""

from __future__ import annotations

import sys
from contextlib import suppress
from random import randrange
from typing import Annotated

import typer

from weitiao.cli.console import messages, results
from weitiao.cli.options import BaseModelName, base_config


def chat(
    target: Annotated[str, typer.Argument(help="A run directory, an adapter directory, or a model.")],
    compare: Annotated[bool, typer.Option("--compare", help="Answer from the base and the tuned model.")] = False,
    base: Annotated[bool, typer.Option("--base", help="Answer from the base model, without the adapter.")] = False,
    base_model: BaseModelName = None,
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens after which an answer is broken off.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: the most likely token; above 0: draw.")] = 0.0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draws; a new one each time by default.")] = None,
) -> None:
    """Talk with a model on the terminal.

    Reads from a file or a pipe as well: each line is a prompt of its own, and its answer goes to stdout.

    Examples:

        weitiao chat runs/tickets

        weitiao chat runs/tickets --compare

        weitiao chat smollm2-135m --system "Answer in one word." --temperature 0.7

        weitiao chat runs/tickets < prompts.txt > answers.txt
    """
    from rich.text import Text

    from weitiao.errors import ModelError
    from weitiao.generation.chat import Conversation
    from weitiao.generation.config import GenerationConfig
    from weitiao.methods.open import open_model
    from weitiao.terminal.chat import chat_by_lines, chat_interactively

    if base and compare:
        raise typer.BadParameter("--compare shows the base model as well: leave --base out.")
    with messages().status(Text(f"Loading {target}"), spinner="line"):
        opened = open_model(target, base=base_config(base_model))
    if (base or compare or base_model) and not opened.has_base:
        raise ModelError(
            f"{target} has no adapter that can be switched off: there are not two models in it.",
            "Name a run or a directory with an adapter of PEFT, or leave --base, --compare and --base-model out.",
        )
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, temperature=temperature, seed=randrange(2**32) if seed is None else seed
    )
    names = ("base", "tuned") if compare else ("base",) if base else ("tuned",)
    speakers = {
        name: Conversation(opened.model, opened.tokenizer, config, system=system, base=name == "base") for name in names
    }
    if sys.stdin.isatty():
        with suppress(ImportError):  # where there is one, it gives `input` line editing and a history
            import readline  # noqa: F401
        chat_interactively(speakers, results(), read=input)
    else:
        chat_by_lines(speakers, sys.stdin, results())
