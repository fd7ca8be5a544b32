"""What a person types: single keys on a terminal, lines from a file or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

_END_OF_INPUT = "\x04"  # Ctrl-D
_ESCAPE = "\x1b"


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
