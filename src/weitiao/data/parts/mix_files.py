"""`weitiao data mix`: several sources in one shuffled file, each with its number of rows."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from weitiao.data.conversion.records import Input, Opened
from weitiao.data.formats.formats import columns_of
from weitiao.data.parts.asked import digest
from weitiao.data.parts.mixing import Ingredient, amounts, take_positions
from weitiao.data.parts.splits import seeded_order
from weitiao.data.reading.paths import labels
from weitiao.data.reading.rows import BadRow, shown
from weitiao.data.writing.rejected import OnRow, RejectedRows, Written, refuse_inputs, silent
from weitiao.data.writing.spool import Spool
from weitiao.data.writing.writing import file_format, row_writer
from weitiao.errors import DataError, Phrase
from weitiao.paths import user_path


@dataclass(frozen=True, slots=True)
class Used:
    """What a mixture has of one source.

    Attributes:
        path: The source, as messages print it.
        format: What its columns mean; empty when no format fits.
        rows: Its rows.
        used: Rows of the mixture that are from it.
        least, most: How often each of its rows comes.
    """

    path: str
    format: str
    rows: int
    used: int
    least: int
    most: int


@dataclass(slots=True)
class Mixture(Written):
    """What `mix_files` did.

    Attributes:
        output: The file that was written.
        rows: Its rows.
        sources: What it has of each source.
    """

    output: str
    rows: int
    sources: tuple[Used, ...]


def mix_files(
    ingredients: Sequence[Ingredient],
    output: Path,
    *,
    seed: int = 0,
    rows: int | None = None,
    temperature: float | None = None,
    source_column: str | None = None,
    kind: str | None = None,
    skip_bad_rows: bool = False,
    on_row: OnRow = silent,
) -> Mixture:
    """Writes rows of several sources to one file, shuffled.

    A source that shall give more rows than it has gives each of them as often as any other, or once more. Which
    rows, and their order, depend on their content and the seed. Memory holds a digest per row, not the rows.

    Args:
        ingredients: The sources.
        output: The file to write; its ending decides the kind of file.
        seed: Decides which rows, and their order.
        rows, temperature: See `amounts`.
        source_column: Name of a column that gets the name of the source.
        kind: One of `writing.FILE_FORMATS`, for an output whose ending does not tell.
        skip_bad_rows: Leave out rows that cannot be read and list them in `rejected.jsonl`, instead of stopping.
        on_row: Is told about progress.

    Raises:
        DataError: A source cannot be read, sources have different formats, the amounts contradict each other, or the
            output cannot be written.
    """
    output = user_path(output)
    kind = file_format(output, kind)
    opened = [Opened(Input(one.path)) for one in ingredients]
    refuse_inputs(output, [path for one in opened for path in one.paths])
    formats = _formats(opened)
    names = labels([one.config.path for one in opened])
    with ExitStack() as stack:
        rejected = stack.enter_context(RejectedRows(output.with_name("rejected.jsonl"), skip=skip_bad_rows))
        write = stack.enter_context(row_writer(output, format=kind))
        pools = [_Pool(one, stack.enter_context(Spool(output.parent))) for one in opened]
        read = 0
        for pool, name in zip(pools, names, strict=True):
            read = pool.fill(rejected, read, on_row, {} if source_column is None else {source_column: name})
        rejected.stop()
        counts = amounts(ingredients, [len(pool.keys) for pool in pools], rows=rows, temperature=temperature)
        picks = [
            (number, position, turn)
            for number, (pool, count) in enumerate(zip(pools, counts, strict=True))
            for position, turn in take_positions(pool.keys, count, seed=seed, purpose="mix")
        ]
        keys = [pools[number].keys[position] + turn.to_bytes(4, "big") for number, position, turn in picks]
        for done, index in enumerate(seeded_order(keys, seed=seed, purpose="shuffle"), start=1):
            number, position, _ = picks[index]
            on_row("writing", done)
            try:
                write(pools[number].rows[position])
            except BadRow as problem:
                raise pools[number].unwritable(position, problem, output) from problem
    used = tuple(
        Used(one.shown, format, len(pool.keys), count, count // len(pool.keys), -(-count // len(pool.keys)))
        for one, format, pool, count in zip(opened, formats, pools, counts, strict=True)
    )
    findings = [f"{one.shown}: {line}" for one in opened for line in one.findings()]
    return Mixture(str(output), len(picks), used, **rejected.told(findings))


def _formats(opened: Sequence[Opened]) -> list[str]:
    """The formats of the sources, which must be one and the same; empty where none fits any."""
    formats = [one.format_or_none() for one in opened]
    other = next((i for i, format in enumerate(formats) if format != formats[0]), None)
    if other is not None:
        first, second = (f"{opened[i].shown} is {formats[i] or 'of no format that is known'}" for i in (0, other))
        odd, target = (other, formats[0]) if formats[0] else (0, formats[other])
        raise DataError(
            f"The sources have different formats: {first}, {second}.",
            f"Convert one first: weitiao data convert {opened[odd].given.path} OUTPUT --to {target}; or all of them to "
            "messages, which holds the most.",
        )
    return [format or "" for format in formats]


class _Pool:
    """The rows of one source in a temporary file, with the digest of each in memory."""

    def __init__(self, opened: Opened, rows: Spool) -> None:
        self._opened = opened
        self._numbers = array("Q")
        self.rows = rows
        self.keys: list[bytes] = []

    def fill(self, rejected: RejectedRows, read: int, on_row: OnRow, more: dict[str, str]) -> int:
        """Reads the source; returns the number of rows that were read so far."""
        for placed in self._opened.rows():
            read += 1
            on_row("reading", read)
            try:
                row = columns_of(placed.row)
                if taken := row.keys() & more.keys():
                    raise BadRow(taken.pop(), "is a column already; choose another --source-column")
                self.keys.append(digest(self.rows.append({**row, **more})))
                self._numbers.append(placed.row.number)
            except BadRow as problem:
                rejected.add(placed.file, placed.row, problem)
        if not self.keys:
            said, first = "{path}: none of its rows can be used; {first}.", rejected.first[-1].sentence()
            raise DataError(Phrase(said, path=self._opened.shown, first=first), "Check the file.")
        return read

    def unwritable(self, position: int, problem: BadRow, output: Path) -> DataError:
        """The error for a row that the kind of the output cannot hold."""
        place = f"{self._opened.shown}, row {self._numbers[position]:,}, field `{problem.field}`"
        return DataError(f"{shown(output)}: {place}: {problem.reason}.", "Write JSON Lines (.jsonl).")
