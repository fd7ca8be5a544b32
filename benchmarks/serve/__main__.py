"""Serving: python -m benchmarks.serve speed | load [--help]"""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.serve import load, speed

WORKS: dict[str, Callable[[list[str]], None]] = {"load": load.main, "speed": speed.main}


def main() -> None:
    """Hand the arguments on."""
    if len(sys.argv) < 2 or sys.argv[1] not in WORKS:
        raise SystemExit(f"{__doc__}\nWorks: {', '.join(WORKS)}")
    WORKS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()
