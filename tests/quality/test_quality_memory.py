"""Memory does not grow with the rows but by a few numbers for each: measured on the whole process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from workbench import PEAK_BYTES

PEAK = f"""
import json, sys
from pathlib import Path
from weitiao.quality.check import check, parts_of_files
from weitiao.quality.settings import CheckSettings

report = check(parts_of_files([Path(sys.argv[1])]), CheckSettings())
print(json.dumps({{"rows": report.rows, "peak": {PEAK_BYTES}}}))
"""


def write_large(path: Path, count: int, *, array: bool) -> Path:
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[\n" if array else "")
        for i in range(count):
            words = " ".join(f"word{(i * 7919 + k * k) % 5003}" for k in range(100))
            row = json.dumps({"prompt": f"{i} {words}", "completion": f"Answer {i}: {words[:200]}."})
            stream.write(row + (",\n" if array and i + 1 < count else "\n"))
        stream.write("]\n" if array else "")
    return path


@pytest.mark.parametrize("array", [False, True], ids=["lines", "array"])
def test_memory_is_bounded(tmp_path: Path, array: bool) -> None:
    peaks, sizes = [], []
    for count in (1_000, 6_000):
        file = write_large(tmp_path / f"{count}.json", count, array=array)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(file)], capture_output=True, text=True, timeout=300, check=True
        )
        values = json.loads(done.stdout)
        assert values["rows"] == count
        peaks.append(values["peak"])
        sizes.append(file.stat().st_size)
    # Signatures lie in a file whose pages may count as memory: 256 bytes a row. The text is five times as much.
    growth = (peaks[1] - peaks[0]) / 5_000
    assert (sizes[1] - sizes[0]) / 5_000 > 1_000
    assert growth < 600
