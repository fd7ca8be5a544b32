"""A program that ends when this process's standard input does, whatever ended the one that started it.

As a module: `python -m weitiao.serve.watched PROGRAM ARGUMENTS...`.
"""

from __future__ import annotations

import subprocess
import sys
import threading


def main() -> int:
    """Run it; its exit code."""
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def watch() -> None:
        sys.stdin.read()
        process.kill()

    threading.Thread(target=watch, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
