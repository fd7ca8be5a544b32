"""Asks for processes that are forked (see `forked`); as a script, it is the `python` that stands for one and ends as
it does."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress

TYPE_CHECKING = False  # imports that take longer than all that the script does
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

STREAMS = (0, 1, 2)


class Forked:
    """A process that was forked for this one, and is killed when this one closes it or ends."""

    def __init__(self, told: TextIO) -> None:
        self._told = told
        self.pid = int(told.readline())

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return int(self._told.readline())

    def close(self) -> None:
        """Kill it, unless it has ended."""
        self._told.close()


def fork(
    address: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    files: Mapping[int, int],
    *,
    cwd: str,
    own_session: bool = False,
    seconds: int = 0,
    encoding: str = "utf-8",
    terminal: str | None = None,
) -> Forked:
    """Have a Python process forked.

    Args:
        address: Of the Unix socket of the process that forks.
        words: Behind `python`, as typed.
        environment: Of the process.
        files: By the number that each has there, its number here.
        cwd: The current directory.
        own_session: Whether it leads a session.
        seconds: After which it is killed, for a call that hangs; 0 for never.
        encoding: Of its standard streams.
        terminal: The device that becomes its terminal and its standard streams.
    """
    call = {
        "words": list(words), "environment": dict(environment), "cwd": cwd, "own_session": own_session,
        "seconds": seconds, "encoding": encoding, "terminal": terminal, "numbers": list(files),
        "file_size": resource.getrlimit(resource.RLIMIT_FSIZE),
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"."], list(files.values()))
        told = connection.makefile("rw", encoding="utf-8")
    told.write(json.dumps(call) + "\n")
    told.flush()
    return Forked(told)


def stand_for(address: str, words: Sequence[str]) -> None:
    """Have a process forked with the files and the directory of this one, pass signals on, and end as it does."""
    place = "/proc/self/fd"
    open_now = [int(name) for name in os.listdir(place) if os.path.exists(f"{place}/{name}")]  # noqa: PTH208, PTH110
    files = {number: number for number in open_now if number in STREAMS or os.get_inheritable(number)}
    passed = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, passed)
    own_session = os.getsid(0) == os.getpid()
    here = os.getcwd()  # noqa: PTH109 - of imports, pathlib's would be the slowest
    forked = fork(address, words, os.environ, files, cwd=here, own_session=own_session)
    for number in files:  # an end of a pipe that this process held would be an end that nobody closes
        os.close(number)

    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(forked.pid, number)

    for one in passed:
        signal.signal(one, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, passed)
    code = forked.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    stand_for(sys.argv[1], sys.argv[2:])
