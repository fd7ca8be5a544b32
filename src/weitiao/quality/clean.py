"""Cleaning: mended rows, rejected rows with reasons, and a summary, in a new directory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from weitiao.data.clean_config import CleanConfig
from weitiao.data.reading.rows import shown
from weitiao.data.writing.writing import told
from weitiao.errors import DataError, MissingExtraError
from weitiao.json_text import json_text
from weitiao.paths import user_path
from weitiao.quality.cleaning_pass import Cleaning, CleanSummary
from weitiao.quality.settings import EXTRA, KINDS, NEEDS, CheckSettings
from weitiao.quality.sources import Part

CLEANED, REJECTED, SUMMARY = "cleaned.jsonl", "rejected.jsonl", "summary.json"


def clean(
    parts: Sequence[Part],
    config: CleanConfig,
    output: Path,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
) -> CleanSummary:
    """Cleans the part `train`.

    Rows keep their columns and their order, and nothing is added to them. Rows that cannot be read or used are always
    rejected. Cleaning what was cleaned gives the same bytes; but for the near forms, since the lines that many rows
    share are found anew in the rows that are left, and may make other rows alike.

    Args:
        parts: Training rows, and the parts that they must not leak into.
        config: What to do.
        output: A directory that does not exist yet, or is empty. It gets `cleaned.jsonl`, `rejected.jsonl` and
            `summary.json`.
        on_rows: Is told how many rows were looked at since the last time.

    Returns:
        The summary, as it stands in `summary.json`.

    Raises:
        DataError: A source cannot be read at all, or the directory holds files.
        MissingExtraError: A fix needs a package that is not installed.
    """
    settings = CheckSettings(kinds=frozenset(config.fix))
    for kind in config.fix:
        if not settings.available(kind):
            raise MissingExtraError(f"The fix `{kind}` ({NEEDS[kind]})", EXTRA)
    output = user_path(output).absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{shown(output)}: is there already and not empty.", "Name a new directory: --output DIR.")
    with _appearing(output) as (folder, scratch):
        cleaning = Cleaning(parts, config, scratch, on_rows)
        with (folder / REJECTED).open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as rejected:
            cleaning.run(folder / CLEANED, rejected)
        summary = cleaning.summary
        summary.changed, summary.rejected = (
            {kind: found[kind] for kind in KINDS if kind in found} for found in (summary.changed, summary.rejected)
        )
        summary.unfilled = dict(sorted(summary.unfilled.items(), key=lambda item: -item[1]))
        (folder / SUMMARY).write_text(json_text(summary, indent=2) + "\n", encoding="utf-8")
    return summary


@contextmanager
def _appearing(output: Path) -> Iterator[tuple[Path, Path]]:
    """A directory that takes its place when it is complete, and one for scratch files; both beside the place."""
    with told(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cleaning-", dir=output.parent) as beside:
            folder, scratch = Path(beside, "output"), Path(beside, "scratch")
            folder.mkdir()
            scratch.mkdir()
            yield folder, scratch
            folder.replace(output)
