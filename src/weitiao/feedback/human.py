"""A person compares answers on the terminal: blind, in random order, and each judgement is stored at once."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from weitiao.data.example import conversation_text
from weitiao.feedback.items import PreferenceItem
from weitiao.feedback.sitting import Sitting
from weitiao.feedback.store import FeedbackStore

_END_OF_INPUT = "\x04"  # Ctrl-D
_ESCAPE = "\x1b"
_BACKSPACE = ("\x7f", "\b")


@contextmanager
def keyboard() -> Iterator[Callable[[], str]]:
    """Read standard input: on a terminal key by key and without an echo, elsewhere line by line.

    The terminal is switched once for the whole block and nothing is thrown away, so that keys which are typed ahead
    count. Ctrl-C still interrupts.

    Yields:
        A function that waits for a key or a line and returns it; EOFError at the end of the input. What an arrow or
        function key sends is returned as a whole: the A and B in it are no answers.
    """
    if not sys.stdin.isatty() or find_spec("termios") is None:  # Windows has none
        yield _read_line
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)
    try:
        yield _key_reader(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _read_line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _key_reader(terminal: int) -> Callable[[], str]:
    waiting: list[str] = []

    def read() -> str:
        if not waiting:
            typed = os.read(terminal, 64).decode("utf-8", "replace")
            if typed.startswith(_ESCAPE):
                return typed
            waiting.extend(typed or _END_OF_INPUT)
        key = waiting.pop(0)
        if key == _END_OF_INPUT:
            raise EOFError
        return key

    return read


Key = Literal["first", "second", "tie", "bad", "comment", "skip", "undo", "quit"]

_KEYS: dict[str, Key] = {
    "a": "first",
    "b": "second",
    **dict.fromkeys(("t", "tie", "="), "tie"),
    **dict.fromkeys(("n", "neither"), "bad"),
    **dict.fromkeys(("c", "comment"), "comment"),
    **dict.fromkeys(("s", "skip"), "skip"),
    **dict.fromkeys(("u", "undo"), "undo"),
    **dict.fromkeys(("q", "quit"), "quit"),
}
HELP = (
    "a: the answer A is better   b: the answer B is better   t: tie   n: neither is good   "
    "c: write a comment first   s: skip   u: undo the last one   q: quit"
)
_SIDE_BY_SIDE_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class Session:
    """What came of a session.

    Attributes:
        num_new: Judgements made in it that stand.
        num_skipped: Items that were put off; they are asked again next time.
        num_left: Items that are not judged, the skipped ones among them.
    """

    num_new: int
    num_skipped: int
    num_left: int


def judge_by_hand(
    items: Sequence[PreferenceItem],
    store: FeedbackStore,
    *,
    judge: str,
    seed: int,
    console: Console,
    read: Callable[[], str],
) -> Session:
    """Show the items that this judge has not judged, one after the other, and store what the person says.

    On the screen the answers are called A and B in an order that a coin decides for each item; the store has which
    model it was.

    Args:
        items: Pairs of answers.
        store: Where the judgements go, each at once.
        judge: Who the person is.
        seed: Of the order of items and answers.
        console: Where it is shown.
        read: Waits for a key or a line and returns it; EOFError and KeyboardInterrupt end the session.
    """
    sitting = Sitting(items, store, judge=judge, seed=seed)
    try:
        _Desk(sitting, console, read).go()
    except (EOFError, KeyboardInterrupt):
        console.print()
    return Session(len(sitting.made), sitting.num_skipped, len(sitting.queue) + sitting.num_skipped)


class _Desk:
    """A sitting at a terminal."""

    def __init__(self, sitting: Sitting, console: Console, read: Callable[[], str]) -> None:
        self._sitting, self._console, self._read = sitting, console, read

    def go(self) -> None:
        """Ask until everything is judged or the person quits."""
        sitting = self._sitting
        if sitting.queue:
            self._console.print(HELP, style="dim", highlight=False)
        while sitting.queue:
            item = sitting.queue[0]
            self._headline()
            _show(item, item.shown(sitting.order(item)), self._console)
            comment, begun = None, time.monotonic()
            while (key := self._key()) == "comment":
                comment = self._line() or None
            match key:
                case "quit":
                    return
                case "skip":
                    sitting.skip()
                case "undo":
                    if not sitting.undo():
                        self._console.print("There is nothing to undo.", style="yellow", highlight=False)
                case _:
                    sitting.say(key, seconds=time.monotonic() - begun, comment=comment)

    def _key(self) -> Key:
        """The next key that means something."""
        while True:
            asked = "Better: a, b, t(ie), n(either)?  c(omment) s(kip) u(ndo) q(uit) > "
            self._console.print(asked, style="bold", end="", highlight=False)
            word = self._read().strip().casefold()
            self._console.print(_text(word), highlight=False)
            if word in _KEYS:
                return _KEYS[word]
            if word:
                self._console.print(HELP, style="yellow", highlight=False)

    def _line(self) -> str:
        """A comment, up to the end of its line."""
        self._console.print("Comment > ", style="bold", end="", highlight=False)
        text = self._read()
        while not text.endswith(("\n", "\r")):
            self._console.print(_text(text[-1:]), end="", highlight=False)
            typed = self._read()
            text = text[:-1] if typed in _BACKSPACE else text + typed
        self._console.print()
        return text.strip()

    def _headline(self) -> None:
        sitting = self._sitting
        skipped = f", {sitting.num_skipped:,} skipped" if sitting.num_skipped else ""
        self._console.print()
        place = f"{sitting.num_judged + 1:,} of {sitting.total:,}{skipped}"
        self._console.rule(Text(place), align="left")


def _show(item: PreferenceItem, answers: tuple[str, str], console: Console) -> None:
    console.print(Panel(_text(conversation_text(item.messages)), title="Request", title_align="left"))
    panels = [
        Panel(_text(answer) if answer.strip() else Text("(nothing)", "dim"), title=name, title_align="left")
        for name, answer in zip(("A", "B"), answers, strict=True)
    ]
    if console.width >= _SIDE_BY_SIDE_COLUMNS:
        beside = Table.grid(expand=True)
        for _ in panels:
            beside.add_column(ratio=1)
        beside.add_row(*panels)
        console.print(beside)
    else:
        console.print(*panels, sep="\n")


def _text(text: str) -> Text:
    """A model's text without control characters, which could write anywhere on the terminal."""
    return Text("".join("�" if _controls(character) else character for character in text), overflow="fold")


def _controls(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) == "Cc"
