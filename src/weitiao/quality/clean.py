"""Cleaning: mended rows, rejected rows with reasons, and a summary, in a new directory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from weitiao.data.clean_config import CleanConfig
from weitiao.data.reading.rows import shown
from weitiao.errors import DataError, MissingExtraError
from weitiao.json_text import json_text
from weitiao.paths import user_path
from weitiao.quality.cleaning_pass import CleaningPass, CleanTally, Origins
from weitiao.quality.kinds import KINDS
from weitiao.quality.settings import EXTRA, NEEDS, CheckSettings
from weitiao.quality.sources import Part, Source

CLEANED, REJECTED, SUMMARY = "cleaned.jsonl", "rejected.jsonl", "summary.json"
_MOST_PASSES = 10


@dataclass(frozen=True, slots=True)
class CleanSummary:
    """What cleaning did.

    Attributes:
        fixes: The fixes that were asked for.
        rows_before, rows_after: Rows that were read, and that were written.
        characters_before, characters_after: Their size as JSON text.
        rows_changed: Rows that were written with another text than they had.
        changed: Rows that each fix changed; a row may be changed by several.
        rejected: Rows that each kind of finding removed.
        unfilled: Rows that stay and hold a placeholder that has no value, by its name.
        passes: How often the rows were gone through, until nothing changed any more.
    """

    fixes: tuple[str, ...]
    rows_before: int
    rows_after: int
    characters_before: int
    characters_after: int
    rows_changed: int
    changed: dict[str, int]
    rejected: dict[str, int]
    unfilled: dict[str, int]
    passes: int


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
    tally = CleanTally()
    with _appearing(output) as (folder, scratch):
        passes = _run_passes(parts, config, folder, scratch, tally, workers, on_rows)
        summary = _summary(config, tally, passes)
        text = json_text(asdict(summary), indent=2) + "\n"
        (folder / SUMMARY).write_text(text, encoding="utf-8")
    return summary


@contextmanager
def _appearing(output: Path) -> Iterator[tuple[Path, Path]]:
    """A directory that takes its place when it is complete, and one for scratch files; both beside the place."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cleaning-", dir=output.parent) as beside:
            folder, scratch = Path(beside, "output"), Path(beside, "scratch")
            folder.mkdir()
            scratch.mkdir()
            yield folder, scratch
            folder.replace(output)
    except OSError as error:
        raise DataError(
            f"{shown(output)}: cannot be written: {error.strerror or error}.", "Make room, or check the folder."
        ) from error


def _summary(config: CleanConfig, tally: CleanTally, passes: int) -> CleanSummary:
    order = list(KINDS)
    return CleanSummary(
        fixes=config.fix,
        rows_before=tally.rows_before,
        rows_after=tally.rows_after,
        characters_before=tally.characters_before,
        characters_after=tally.characters_after,
        rows_changed=tally.rows_changed,
        changed=dict(sorted(tally.changed.items(), key=lambda item: order.index(item[0]))),
        rejected=dict(sorted(tally.rejected.items(), key=lambda item: order.index(item[0]))),
        unfilled=dict(tally.unfilled.most_common()),
        passes=passes,
    )


def _run_passes(
    parts: Sequence[Part],
    config: CleanConfig,
    output: Path,
    scratch: Path,
    tally: CleanTally,
    workers: int,
    on_rows: Callable[[int], None],
) -> int:
    """Cleans until nothing changes any more; returns how many passes that took.

    One pass is enough but for the near forms: the lines that many rows share are found anew in the rows that are left,
    and may make other rows alike.
    """
    again = bool({"near_duplicate", "near_leak"} & set(config.fix))
    given = list(parts)
    origins: Origins | None = None
    number = 0
    with (output / REJECTED).open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as rejected:
        while True:
            number += 1
            target = scratch / f"{number}.jsonl"
            one = CleaningPass(given, config, scratch, workers, on_rows)
            origins, changed = one.run(target, rejected, tally, origins)
            if not again or not changed or not len(origins.number) or number == _MOST_PASSES:
                break
            given = [_reading(part, target, one.train) if part.name == "train" else part for part in parts]
    target.replace(output / CLEANED)
    return number


def _reading(part: Part, path: Path, source: Source) -> Part:
    """The part, read from what a pass wrote, its columns understood as before."""
    update = {"path": str(path), "limit": None, "split": None, "subset": None}
    config = source.meaning.source.model_copy(update=update)
    return replace(part, sources=(config,), input_column=None, output_column=None)
