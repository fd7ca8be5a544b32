"""Cleaning: mended rows, rejected rows with reasons, and a summary, in a new directory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from weitiao.data.clean_config import CleanConfig
from weitiao.data.reading.rows import shown
from weitiao.data.writing.writing import told
from weitiao.errors import DataError, MissingExtraError
from weitiao.json_text import json_text
from weitiao.paths import user_path
from weitiao.quality.cleaning_pass import CleaningPass, CleanSummary, Origins
from weitiao.quality.settings import EXTRA, KINDS, NEEDS, CheckSettings
from weitiao.quality.sources import Part, Source

CLEANED, REJECTED, SUMMARY = "cleaned.jsonl", "rejected.jsonl", "summary.json"
_MOST_PASSES = 10


def clean(
    parts: Sequence[Part],
    config: CleanConfig,
    output: Path,
    *,
    workers: int = 1,
    on_rows: Callable[[int], None] = lambda _: None,
) -> CleanSummary:
    """Cleans the part `train`.

    Rows keep their columns and their order, and nothing is added to them. Rows that cannot be read or used are always
    rejected. Cleaning what was cleaned gives the same bytes.

    Args:
        parts: Training rows, and the parts that they must not leak into.
        config: What to do.
        output: A directory that does not exist yet, or is empty. It gets `cleaned.jsonl`, `rejected.jsonl` and
            `summary.json`.
        workers: Processes.
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
        summary = _run_passes(parts, config, folder, scratch, workers, on_rows)
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


def _run_passes(
    parts: Sequence[Part],
    config: CleanConfig,
    output: Path,
    scratch: Path,
    workers: int,
    on_rows: Callable[[int], None],
) -> CleanSummary:
    """Cleans until nothing changes any more.

    One pass is enough but for the near forms: the lines that many rows share are found anew in the rows that are left,
    and may make other rows alike.
    """
    again = bool({"near_duplicate", "near_leak"} & set(config.fix))
    given, summary = list(parts), CleanSummary(config.fix)
    origins: Origins | None = None
    with (output / REJECTED).open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as rejected:
        while True:
            summary.passes += 1
            target = scratch / f"{summary.passes}.jsonl"
            one = CleaningPass(given, config, summary, scratch, workers, on_rows)
            origins, changed = one.run(target, rejected, origins)
            if not again or not changed or not len(origins.number) or summary.passes == _MOST_PASSES:
                break
            given = [_reading(part, target, one.train) if part.name == "train" else part for part in parts]
    target.replace(output / CLEANED)
    changed_rows, rejected_rows = (
        {kind: found[kind] for kind in KINDS if kind in found} for found in (summary.changed, summary.rejected)
    )
    unfilled = dict(sorted(summary.unfilled.items(), key=lambda item: -item[1]))
    return replace(summary, changed=changed_rows, rejected=rejected_rows, unfilled=unfilled)


def _reading(part: Part, path: Path, source: Source) -> Part:
    """The part, read from what a pass wrote, its columns understood as before."""
    update = {"path": str(path), "limit": None, "split": None, "subset": None}
    config = source.meaning.source.model_copy(update=update)
    return replace(part, sources=(config,), input_column=None, output_column=None)
