"""A watched program, and what it has started, ends when nobody holds its standard input any more."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

PROGRAM = """
import subprocess, sys, time
worker = subprocess.Popen(["sleep", "600"])
print(worker.pid, flush=True)
{then}
"""


def started(then: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """The watching process, and the worker of its program."""
    command = [sys.executable, "-m", "weitiao.serve.watched", sys.executable, "-c", PROGRAM.format(then=then)]
    watching = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    return watching, psutil.Process(int(watching.stdout.readline()))


def has_ended(worker: psutil.Process) -> bool:
    """Within a second; nobody may have asked yet how it ended."""
    until = time.monotonic() + 1
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds SIGTERM", "does not"])
def test_workers_end_with_the_input(heeds: bool) -> None:
    then = "" if heeds else "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    watching, worker = started(f"{then}print('ready', flush=True); time.sleep(600)")
    assert watching.stdout is not None and watching.stdin is not None
    assert watching.stdout.readline() == "ready\n"
    watching.stdin.close()
    watching.wait(4.5)  # within what `serve.child` gives it
    assert has_ended(worker)


def test_workers_of_a_program_that_dies_end_with_it() -> None:
    watching, worker = started("time.sleep(0.2); sys.exit(7)")
    assert watching.wait(10) == 7
    assert has_ended(worker)
