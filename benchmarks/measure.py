"""What a call takes here, and what the same work takes another tool in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weitiao.machine.cgroup import peak_bytes

Result = dict[str, Any]


def measured(call: Callable[[Callable[[str], None]], object], num_samples: int) -> Result:
    """Seconds, processor seconds (of all threads) and peak memory of the first call of a process.

    Args:
        call: Whatever takes time. It may tell lines; a training tells what learns once its model is there, and from
            then on it is timed.
        num_samples: What it handles.
    """
    clocks = [(time.perf_counter(), time.process_time())]

    def tell(line: str) -> None:
        print(line, file=sys.stderr)
        if "parameters learn" in line:
            clocks.append((time.perf_counter(), time.process_time()))

    call(tell)
    seconds, processor = time.perf_counter() - clocks[-1][0], time.process_time() - clocks[-1][1]
    return _with_rates(
        {
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor, 2),
            "peak_rss_mib": peak_bytes() // 2**20,
        },
        num_samples,
    )


def run_peer(python: Path, work: str, spec: dict[str, Any], num_samples: int) -> Result:
    """Run `benchmarks/peer.py` with the Python of another environment; what it prints, with rates.

    Args:
        python: Of the environment that `peer.py` names.
        work: `dpo`, `grpo` or `generate`.
        spec: What `peer.py` reads.
        num_samples: What it handles.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "spec.json"
        path.write_text(json.dumps(spec), encoding="utf-8")
        script = Path(__file__).with_name("peer.py")
        # -P: the files beside the script are no modules of the peer's
        command = [str(python), "-P", str(script), work, str(path)]
        done = subprocess.run(
            command, env=peer_environment(), stdout=subprocess.PIPE, text=True, check=True, cwd=directory
        )
    return _with_rates(json.loads(done.stdout.splitlines()[-1]), num_samples)


def compare(ours: Result, theirs: Result) -> Result:
    """How many times as fast ours was, and its share of their memory."""
    return {
        "speed": round(theirs["seconds"] / ours["seconds"], 2),
        "speed_by_processor_time": round(theirs["processor_seconds"] / ours["processor_seconds"], 2),
        "memory": round(ours["peak_rss_mib"] / theirs["peak_rss_mib"], 2),
    }


def _with_rates(result: Result, num_samples: int) -> Result:
    return {**result, "samples": num_samples, "samples_per_second": round(num_samples / result["seconds"], 4)}


_OURS = {"PYTHONPATH", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"}


def peer_environment() -> dict[str, str]:
    """The environment in which its users start a peer: without what `configure_process` sets for us."""
    return {name: value for name, value in os.environ.items() if name not in _OURS} | {"HF_HUB_OFFLINE": "1"}
