"""Work in several processes: the results of one, in the order of the work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from checking import pair, write_rows

from weitiao.data.parts.asked import Boilerplate
from weitiao.quality.check import parts_of_files
from weitiao.quality.look import Looked, Task, look
from weitiao.quality.scan import in_order
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import open_sources


def tasks(file: Path) -> list[tuple[int, Task]]:
    (source,) = open_sources(parts_of_files([file]))
    batches = enumerate(source.batches())
    return [
        (number, Task(rows, source.meaning, CheckSettings(), "train", Boilerplate(), True, True))
        for number, (_, rows) in batches
    ]


def test_processes_see_what_one_sees(tmp_path: Path) -> None:
    rows = [
        pair(f"question {i % 700} about the house on the hill", f"answer {i}" if i % 5 else "") for i in range(3_000)
    ]
    file = write_rows(tmp_path / "a.jsonl", rows)
    alone: list[tuple[int, Looked]] = list(in_order(look, iter(tasks(file)), workers=1))
    shared = list(in_order(look, iter(tasks(file)), workers=2, alone=1))
    assert [number for number, _ in shared] == list(range(6))
    for (_, one), (_, other) in zip(alone, shared, strict=True):
        assert one.problems == other.problems
        assert one.more_keys == other.more_keys
        for name in ("rows", "signatures", "input_signatures"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_few_pieces_start_no_process_and_none_is_lost() -> None:
    for count in (0, 1, 5, 40, 41):
        assert list(in_order(abs, iter([(i, -i) for i in range(count)]), workers=2, alone=60)) == [
            (i, i) for i in range(count)
        ]
    assert list(in_order(abs, iter([(i, -i) for i in range(50)]), workers=2, alone=3)) == [(i, i) for i in range(50)]
