"""What streams and shells take: characters that a terminal lacks, and words of commands."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path


def allow_any_text() -> None:
    """Let stdout and stderr take every character: what their encoding lacks is written as a backslash escape.

    An ASCII or cp1252 terminal cannot show Chinese, and no encoding can a lone surrogate of a damaged row.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def quoted(word: str | Path) -> str:
    """A path or a name as a word of a command that is ready to be pasted into a shell."""
    return shlex.quote(str(word))


def encodes_unicode() -> bool:
    """Whether stdout can take every character as it is."""
    return (sys.stdout.encoding or "utf-8").casefold().replace("-", "").startswith("utf")
