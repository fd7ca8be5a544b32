"""The loss of every sequence of every step: what stands behind a spike of the loss curve.

Kept as Parquet files of some steps each, in `losses/part-FIRST_STEP.parquet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weitiao.errors import RunError
from weitiao.files import in_one_step

FLUSH_STEPS = 50

SCHEMA = pa.schema([("step", pa.int32()), ("row_id", pa.string()), ("loss", pa.float32()), ("weight", pa.float32())])


class LossLog:
    """Writes the losses of the sequences, step by step.

    Args:
        directory: `RunDir.losses`.
        start: Steps that are done; what an interrupted process wrote about later ones is removed.
    """

    def __init__(self, directory: Path, *, start: int) -> None:
        self.directory = directory
        self._rows: list[tuple[int, str, float, float]] = []
        self._num_steps = 0
        directory.mkdir(parents=True, exist_ok=True)
        for part in directory.glob("part-*.parquet"):
            table = pq.read_table(part)
            kept = table.filter(pc.less_equal(table["step"], start))
            if kept.num_rows == 0:
                part.unlink()
            elif kept.num_rows < table.num_rows:
                self._write(part, kept)

    def add(self, step: int, row_ids: Sequence[str], losses: Sequence[float], weights: Sequence[float]) -> None:
        """Note a step (counted from 1): for each sequence its mean loss per unit of weight, and its weight."""
        self._rows += [(step, *row) for row in zip(row_ids, losses, weights, strict=True)]
        self._num_steps += 1
        if self._num_steps >= FLUSH_STEPS:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet on disk."""
        if self._rows:
            rows = [dict(zip(SCHEMA.names, row, strict=True)) for row in self._rows]
            path = self.directory / f"part-{self._rows[0][0]:08d}.parquet"
            self._write(path, pa.Table.from_pylist(rows, schema=SCHEMA))
        self._rows, self._num_steps = [], 0

    def _write(self, path: Path, table: pa.Table) -> None:
        with in_one_step(path) as beside:
            pq.write_table(table, beside)


def read_losses(directory: Path, step: int) -> pa.Table:
    """The sequences of a step, highest loss first.

    Raises:
        RunError: The run has no record of that step.
    """
    parts = sorted(directory.glob("part-*.parquet"))
    tables = [pq.read_table(part, filters=[("step", "=", step)]) for part in parts]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    if table.num_rows == 0:
        last = max((pc.max(pq.read_table(part)["step"]).as_py() for part in parts), default=0)
        raise RunError(
            f"{directory} has no losses of step {step}; the last step it knows is {last}.",
            f"Choose a step from 1 to {last}." if last else "Train some steps first.",
        )
    return table.sort_by([("loss", "descending")])
