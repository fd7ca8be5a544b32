"""Chatting on a terminal, or by lines from a file or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from weitiao.errors import DataError, ModelError
from weitiao.generation.chat import Conversation

Speakers = Mapping[str, Conversation]
"""Conversations by the name of who answers: one, or several that answer side by side."""

HELP = (
    ("/reset", "forget what was said and start anew"),
    ("/help", "show this"),
    ("/exit", "leave (or Ctrl-D)"),
    ("Ctrl-C", "stop an answer"),
)


def chat_by_lines(speakers: Speakers, lines: Iterable[str], console: Console) -> None:
    """Answer each line on its own, without a memory of those before; empty lines are passed over.

    Args:
        speakers: Who answers. The answers of several are headed by their names.
        lines: The prompts.
        console: Where the answers go, each closed by a line break.

    Raises:
        DataError: The prompts are not text.
    """
    for prompt in _prompts(lines):
        for name, conversation in speakers.items():
            conversation.reset()
            if len(speakers) > 1:
                console.out(f"{name}: ", end="", highlight=False)
            _print_answer(conversation, prompt, console)


def _prompts(lines: Iterable[str]) -> Iterator[str]:
    try:
        yield from filter(None, map(str.strip, lines))
    except UnicodeDecodeError as error:
        raise DataError(
            f"The prompts on standard input are not UTF-8 text: {error.reason}.", "Convert them to UTF-8."
        ) from error


def chat_interactively(speakers: Speakers, console: Console, *, read: Callable[[str], str]) -> None:
    """Take turns until the user leaves.

    Args:
        speakers: Who answers, several side by side.
        console: Where the answers go.
        read: Prints a prompt and returns a line, as `input` does: EOFError ends the chat.

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
                _answer_turn(speakers, text, console)


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


def _answer_turn(speakers: Speakers, text: str, console: Console) -> None:
    try:
        if len(speakers) == 1:
            (conversation,) = speakers.values()
            _print_answer(conversation, text, console)
        else:
            _show_side_by_side(speakers, text, console)
    except KeyboardInterrupt:
        console.print(Text("\n(stopped)", "dim"))
    except ModelError as error:  # the conversation has outgrown the context
        console.print(Text(f"{error.what}\nType /reset to start anew.", "red"))


def _print_answer(conversation: Conversation, text: str, console: Console) -> None:
    with closing(conversation.answer(text)) as pieces:
        for piece in pieces:
            if console.is_terminal:
                console.out(piece, end="", highlight=False)
            else:  # what is kept of an answer is the answer, control characters included
                console.file.write(piece)
            console.file.flush()
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
                    answers[name].append(piece)
                    live.refresh()


def _print_help(console: Console) -> None:
    commands = "; ".join(f"{name}: {what}" for name, what in HELP)
    console.print(Text(f"Type a message. {commands}.", "dim"))
