"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP) end a run after the step, or the piece of a validation, under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import nn


class Stopped(BaseException):
    """Work was left because the run was asked to stop. Who catches the errors of a model does not catch this."""


@dataclass(slots=True)
class Interrupt:
    """Whether the run was asked to stop."""

    requested: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Note signals instead of stopping at once; a second Ctrl-C stops at once.

    Only a process's main thread gets signals: in another one nothing is noted. SIGHUP stays ignored under `nohup`.
    """
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupt.requested = True

    before = {number: signal.signal(number, note) for number in _signals()}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signals() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hangup]


@contextmanager
def stoppable(module: nn.Module, interrupt: Interrupt) -> Iterator[None]:
    """Inside the block, calling the module raises `Stopped` once the run was asked to stop."""

    def check(*_: Any) -> None:
        if interrupt.requested:
            raise Stopped

    handle = module.register_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()
