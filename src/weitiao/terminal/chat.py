"""Chatting on a terminal, or by lines from a file or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from weitiao.errors import DataError, ModelError
from weitiao.terminal.chances import Chosen, chance_line, in_colour


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of an answer.

    Attributes:
        text: Of the answer.
        reasoning: What the model thought before it.
        chosen: The tokens that both came from.
    """

    text: str
    reasoning: str = ""
    chosen: tuple[Chosen, ...] = ()


class Speaker(Protocol):
    """Who answers, and remembers what was said."""

    def reset(self) -> None:
        """Forget it."""
        ...

    def answer(self, text: str) -> Generator[Said, None, None]:
        """Answer a turn, in pieces of whole characters; one that is closed early ends the answer."""
        ...


Speakers = Mapping[str, Speaker]
"""By the name of who answers: one, or several that answer side by side."""

HELP = (
    ("/reset", "forget what was said and start anew"),
    ("/help", "show this"),
    ("/exit", "leave (or Ctrl-D)"),
    ("Ctrl-C", "stop an answer"),
)


def chat_by_lines(speakers: Speakers, lines: Iterable[str], console: Console, *, why: bool = False) -> None:
    """Answer each line on its own, without a memory of those before; empty lines are passed over.

    Args:
        speakers: Who answers. The answers of several are headed by their names.
        lines: The prompts.
        console: Where the answers go, each closed by a line break.
        why: Whether a line for each token says how likely it was, before the answer.

    Raises:
        DataError: The prompts are not text.
    """
    for prompt in _prompts(lines):
        for name, conversation in speakers.items():
            conversation.reset()
            lead = f"{name}: " if len(speakers) > 1 else ""
            _print_answer(conversation, prompt, console, lead=lead, why=why)


def _prompts(lines: Iterable[str]) -> Iterator[str]:
    try:
        yield from filter(None, map(str.strip, lines))
    except UnicodeDecodeError as error:
        raise DataError(
            f"The prompts on standard input are not UTF-8 text: {error.reason}.", "Convert them to UTF-8."
        ) from error


def chat_interactively(speakers: Speakers, console: Console, *, read: Callable[[str], str], why: bool = False) -> None:
    """Take turns until the user leaves.

    Args:
        speakers: Who answers, several side by side.
        console: Where the answers go.
        read: Prints a prompt and returns a line, as `input` does: EOFError ends the chat.
        why: Whether a line for each token says how likely it was, and what else was.

    Raises:
        RenderingError: The tokenizer has no chat template, or it refuses the conversation.
    """
    _print_help(console)
    for text in _user_turns(console, read):
        match text:
            case "/exit":
                return
            case "/help":
                _print_help(console)
            case "/reset":
                for conversation in speakers.values():
                    conversation.reset()
                console.print(Text("A new conversation.", "dim"))
            case _ if text.startswith("/") and text[1:].isalpha():
                console.print(Text(f"There is no command {text}; /help shows those there are.", "yellow"))
            case _:
                _answer_turn(speakers, text, console, why=why)


def _user_turns(console: Console, read: Callable[[str], str]) -> Iterator[str]:
    while True:
        try:
            text = read("\nyou> ").strip()
        except EOFError:
            console.print()
            return
        except KeyboardInterrupt:
            console.print(Text("\nCtrl-D or /exit leaves.", "dim"))
            continue
        if text:
            yield text


def _answer_turn(speakers: Speakers, text: str, console: Console, *, why: bool) -> None:
    try:
        if len(speakers) == 1 or why:
            for name, speaker in speakers.items():
                _print_answer(speaker, text, console, lead=f"{name}: " if len(speakers) > 1 else "", why=why)
        else:
            _show_side_by_side(speakers, text, console)
    except KeyboardInterrupt:
        console.print(Text("\n(stopped)", "dim"))
    except ModelError as error:  # the conversation has outgrown the context
        console.print(Text(f"{error.what}\nType /reset to start anew.", "red"))


def _print_answer(speaker: Speaker, text: str, console: Console, *, lead: str, why: bool) -> None:
    said: list[Said] = []
    if not why:
        console.out(lead, end="", highlight=False)
    with closing(speaker.answer(text)) as pieces:
        for piece in pieces:
            if why:
                said.append(piece)
                for one in piece.chosen:
                    console.print(chance_line(one, console.width), no_wrap=True, overflow="ellipsis")
            elif console.is_terminal:
                console.out(piece.reasoning, end="", style="dim", highlight=False)
                console.out(piece.text, end="", highlight=False)
            else:  # what is kept of an answer is the answer, control characters included
                console.file.write(piece.text)
            console.file.flush()
    if why:
        console.out(lead, end="", highlight=False)
        for piece in said:
            if console.is_terminal:
                console.print(in_colour(piece.text, piece.chosen), end="", soft_wrap=True)
            else:
                console.file.write(piece.text)
    console.out()


def _show_side_by_side(speakers: Speakers, text: str, console: Console) -> None:
    answers = {name: Text() for name in speakers}
    table = Table(expand=True)
    for name in speakers:
        table.add_column(name, ratio=1)
    table.add_row(*answers.values())
    with Live(table, console=console, auto_refresh=False) as live:
        for name, conversation in speakers.items():
            with closing(conversation.answer(text)) as pieces:
                for piece in pieces:
                    answers[name].append(piece.reasoning, "dim").append(piece.text)
                    live.refresh()


def _print_help(console: Console) -> None:
    commands = "; ".join(f"{name}: {what}" for name, what in HELP)
    console.print(Text(f"Type a message. {commands}.", "dim"))
