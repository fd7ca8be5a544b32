"""`weitiao data split`: the rows of a file in parts that share no input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.data.conversion.records import Input, Opened
from weitiao.data.formats.formats import columns_of
from weitiao.data.parts.asked import Ask, Asked, find_boilerplate, input_of, value_of
from weitiao.data.parts.splits import choose_groups, stratified_quotas
from weitiao.data.parts.together import Together, largest_group, sample_of
from weitiao.data.reading.opening import data_suffix
from weitiao.data.reading.paths import DATA_SUFFIXES
from weitiao.data.reading.rows import BadRow, shown
from weitiao.data.writing.rejected import OnRow, RejectedRows, Written, refuse_inputs, silent
from weitiao.data.writing.writing import file_format, row_writer
from weitiao.errors import DataError
from weitiao.paths import user_path

if TYPE_CHECKING:
    import pyarrow

HELD_OUT = ("test", "validation")
_BAD = 255
_SUFFIXES = {"JSON": ".json", "JSON Lines": ".jsonl", "CSV": ".csv", "Parquet": ".parquet"}


@dataclass(slots=True)
class Split(Written):
    """What a split did.

    Attributes:
        source: The input, as messages print it.
        input: What makes two inputs the same: the format whose question counts, or the columns.
        files: The file of each part.
        rows: The number of rows of each part.
        inputs: The number of different inputs of each part.
        labels: With `stratify`, the number of rows of each label in each part.
        asked: The number of rows that each held-out part should have.
        keep_together: `near` or `same`: whether rows that ask almost the same came to one part, too.
        apart: Pairs of rows that ask almost the same and may stand in two parts, since their group would be too large.
    """

    source: str
    input: str
    files: dict[str, str]
    rows: dict[str, int]
    inputs: dict[str, int]
    labels: dict[str, dict[str, int]]
    asked: dict[str, int]
    keep_together: str
    apart: int


def split_file(
    given: Input,
    folder: Path,
    *,
    test: float | None = None,
    validation: float | None = None,
    seed: int = 0,
    input_columns: Sequence[str] = (),
    stratify: str | None = None,
    group: str | None = None,
    near: bool = True,
    kind: str | None = None,
    skip_bad_rows: bool = False,
    on_row: OnRow = silent,
) -> Split:
    """Divides the rows of a file among `train`, `test` and `validation`, unchanged and in their order.

    Rows with the same input, or almost the same, come to one part. Which ones depends on their content and the seed,
    not on where they stand. Memory holds a digest per row, and with `near` a signature of 256 bytes, not the rows.

    Args:
        given: The input.
        folder: Where the files go, `train.jsonl` and so on; files that are there already are replaced.
        test, validation: How many rows: a share below 1, or a number.
        seed: Decides which rows.
        input_columns: The columns that are the input; the format tells when there are none.
        stratify: A column whose values divide among the parts as among all rows.
        group: A column whose equal values come to one part.
        near: Keep rows together that ask almost the same, too.
        kind: One of `writing.FILE_FORMATS`; the input's own when None.
        skip_bad_rows: Leave out rows that cannot be used and list them in `rejected.jsonl`, instead of stopping.
        on_row: Is told about progress.

    Raises:
        DataError: The input cannot be read, a row cannot be used, a part would have no rows, the folder holds parts
            of another split, or a file cannot be written.
    """
    shares = _shares({"test": test, "validation": validation})
    folder = user_path(folder)
    opened = Opened(given)
    files = _files(folder, (*shares, "train"), opened, kind)
    meaning, ask = input_of(opened, input_columns, [column for column in (stratify, group) if column is not None])
    with RejectedRows(folder / "rejected.jsonl", skip=skip_bad_rows) as rejected:
        together, labels, sample = _linked(opened, ask, stratify, group, rejected, on_row)
        rejected.stop()
        asked = _asked(opened, len(labels) - rejected.count, shares)
        apart = 0
        if near:
            rows, most = _again(opened, ask, together, on_row), largest_group(asked.values())
            apart = together.join_near(rows, find_boilerplate(sample), most=most)
        parts = _choose(opened, together.units(), labels, asked, seed, stratified=stratify is not None)
        _write(opened, files, parts, len(labels), on_row)
    return Split(
        source=opened.shown,
        input=meaning,
        files={part: str(path) for part, path in files.items()},
        rows={part: len(positions) for part, positions in parts.items()},
        inputs={part: together.num_inputs(positions) for part, positions in parts.items()},
        labels={} if stratify is None else {part: _counts(labels, chosen) for part, chosen in parts.items()},
        asked=asked,
        keep_together="near" if near else "same",
        apart=apart,
        **rejected.told(opened.findings()),
    )


def _linked(
    opened: Opened, ask: Ask, stratify: str | None, group: str | None, rejected: RejectedRows, on_row: OnRow
) -> tuple[Together, list[str], list[Asked]]:
    """Reads all rows once: which must stay together, the label of each, and what a sample of them asks."""
    together, labels = Together(), list[str]()

    def usable() -> Iterator[Asked]:
        for number, placed in enumerate(opened.rows(), start=1):
            on_row("reading", number)
            try:
                row = columns_of(placed.row)
                label = "" if stratify is None else value_of(row, stratify)
                asked, others = ask(placed), () if group is None else (value_of(row, group),)
            except BadRow as problem:
                rejected.add(placed.file, placed.row, problem)
                together.add(None)
                labels.append("")
            else:
                together.add(asked.draw, asked.keys[0], *others)
                labels.append(label)
                yield asked

    return together, labels, sample_of(usable())


def _counts(labels: Sequence[str], positions: Sequence[int]) -> dict[str, int]:
    return dict(sorted(Counter(labels[position] for position in positions).items()))


def _again(opened: Opened, ask: Ask, together: Together, on_row: OnRow) -> Iterator[Asked | None]:
    """Reads all rows once more: what those ask that can be used."""
    for position, placed in enumerate(opened.rows()):
        on_row("comparing", position + 1)
        yield ask(placed) if together.is_in(position) else None


def _shares(given: Mapping[str, float | None]) -> dict[str, float]:
    shares = {part: share for part, share in given.items() if share is not None}
    if not shares:
        raise DataError("Nothing is to be held out.", "Add --test or --validation, for instance --test 0.1.")
    for part, share in shares.items():
        if not 0 < share < float("inf") or (share >= 1 and share != int(share)):
            raise DataError(
                f"--{part}: {share:g} is neither a share of the rows nor a number of them.",
                "Give a number between 0 and 1, or a whole number of rows.",
            )
    return shares


def _asked(opened: Opened, total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """The number of rows that each held-out part should have."""
    asked = {part: max(1, round(share * total)) if share < 1 else int(share) for part, share in shares.items()}
    if sum(asked.values()) >= total:
        raise DataError(
            f"{opened.shown}: has {total:,} usable rows, and {sum(asked.values()):,} are to be held out.",
            "Hold out fewer: rows to train on must be left.",
        )
    return asked


def _choose(
    opened: Opened,
    units: Mapping[bytes, Sequence[int]],
    labels: Sequence[str],
    asked: Mapping[str, int],
    seed: int,
    *,
    stratified: bool,
) -> dict[str, list[int]]:
    """The positions of all parts."""
    sizes = Counter(labels[position] for unit in units.values() for position in unit)
    counts = list(asked.values())
    quotas = stratified_quotas(counts, sizes) if stratified else [Counter({"": count}) for count in counts]
    chosen = choose_groups(units, quotas, seed=seed, labels=labels if stratified else None)
    parts = dict(zip((*asked, "train"), chosen, strict=True))
    empty = next((part for part, positions in parts.items() if not positions), None)
    if empty is not None:
        raise DataError(
            f"{opened.shown}: no row is left for {empty}: its {sizes.total():,} usable rows make {len(units):,} groups "
            "of rows that must stay together.",
            "Give more rows, other numbers, or another --group.",
        )
    return parts


def _write(
    opened: Opened, files: Mapping[str, Path], parts: Mapping[str, Sequence[int]], total: int, on_row: OnRow
) -> None:
    """Reads the rows once more, and writes each to its part."""
    sides = bytearray([_BAD]) * total
    for number, positions in enumerate(parts.values()):
        for position in positions:
            sides[position] = number
    changed = DataError(f"{opened.shown}: the file was changed while it was read.", "Run the command again.")
    schema = _schema(opened, next(iter(files.values())))
    with ExitStack() as stack:
        writers = [stack.enter_context(row_writer(files[part], schema=schema)) for part in parts]
        position = -1
        for position, placed in enumerate(opened.rows()):
            on_row("writing", position + 1)
            if position >= total:
                raise changed
            if sides[position] != _BAD:
                try:
                    writers[sides[position]](columns_of(placed.row))
                except BadRow as problem:
                    where = f"{placed.file}, row {placed.row.number}, field `{problem.field}`"
                    raise DataError(f"{where}: {problem.reason}.", "Write JSON Lines: --format jsonl.") from problem
        if position + 1 != total:
            raise changed


def _schema(opened: Opened, output: Path) -> pyarrow.Schema | None:
    """The types that the input states, where the output is Parquet, too."""
    if file_format(output) != "parquet" or not all(path.endswith(".parquet") for path in opened.paths):
        return None
    import pyarrow.parquet

    schemas = [pyarrow.parquet.read_schema(path) for path in opened.paths]
    return schemas[0] if all(schema.equals(schemas[0]) for schema in schemas) else None


def _files(folder: Path, parts: Sequence[str], opened: Opened, kind: str | None) -> dict[str, Path]:
    """The files to write, once it is clear that no part of another split would stay beside them."""
    if kind is not None:
        suffix = "." + file_format(folder / "train", kind)
    elif opened.kind == "CSV":
        suffix = data_suffix(Path(opened.paths[0]))
    else:
        suffix = _SUFFIXES.get(opened.kind, ".jsonl")
    files = {part: folder / f"{part}{suffix}" for part in parts}
    for path in files.values():
        refuse_inputs(path, opened.paths)
    names = [f"{part}{ending}" for part in ("train", *HELD_OUT) for ending in DATA_SUFFIXES]
    stale = [folder / name for name in names if (folder / name).exists() and folder / name not in files.values()]
    if stale:
        raise DataError(
            f"{shown(stale[0])}: is part of another split, and would stay beside the new files.",
            "Remove it, or give another --output.",
        )
    return files
