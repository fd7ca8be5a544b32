"""A program that ends when this process's standard input does, whatever ended the one that started it; and with it the
processes that it has started, which may be large (vLLM's engine and its workers).

As a module: `python -m weitiao.serve.watched PROGRAM ARGUMENTS...`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_GRACE_SECONDS = 3.0
"""Until what was told to end is killed; less than the time that this process is given (`serve.child`)."""


def main() -> int:
    """Run it; its exit code."""
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        sys.stdin.read()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        _kill_group(process.pid)

    threading.Thread(target=watch, daemon=True).start()
    code = process.wait()
    _kill_group(process.pid)
    return code


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
