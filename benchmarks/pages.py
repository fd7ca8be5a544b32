"""The pages: python -m benchmarks.pages [--tabs 50] [--minutes 5]

How soon the first page comes, how long pages take, how a run of 100,000 steps is drawn, and what many tabs on a
run that goes on cost: the memory of the page server, and whether each of them gets every step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import psutil

STEPS = 100_000
RUNS = 300
"""That the first page finds."""
SECONDS_BETWEEN = 0.2
"""Of two steps of the run that goes on."""


def line_of(step: int) -> str:
    """A step as a training writes it."""
    counted = dict.fromkeys(("num_sequences", "num_forests", "num_tokens", "num_computed_tokens"), 8)
    values = {"step": step, "epoch": step / STEPS, "loss": 1 / (1 + step % 1000), "learning_rate": 1e-4, **counted}
    return (
        json.dumps({**values, "grad_norm": 1.0, "seconds": 0.2, "tokens_per_second": 500.0, "memory_gib": 2.0}) + "\n"
    )


def write_run(path: Path, steps: int) -> Path:
    """A run of so many steps, so far."""
    path.mkdir(parents=True)
    (path / "recipe.yaml").write_text("model: m\ntrain: {epochs: 1}\n", encoding="utf-8")
    (path / "metrics.jsonl").write_text("".join(map(line_of, range(1, steps + 1))), encoding="utf-8")
    return path / "metrics.jsonl"


async def asked(client: httpx2.AsyncClient, path: str, times: int = 5) -> list[float]:
    """Milliseconds that a path took, each time."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        (await client.get(path)).raise_for_status()
        found.append(1000 * (time.perf_counter() - begun))
    return found


async def tab(client: httpx2.AsyncClient, until: float) -> list[int]:
    """What a tab does: the drawing, the stream of steps, and the state every two seconds. Steps of the stream."""
    found = (await client.get("/api/runs/live/metrics?points=600&series=loss")).json()
    steps = [int(found["last"]["step"])]

    async def listen() -> None:
        async with client.stream("GET", f"/api/runs/live/events?offset={found['offset']}") as reply:
            kind = ""
            async for line in reply.aiter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: ") and kind == "step":
                    steps.append(json.loads(line[6:])["step"])

    listening = asyncio.create_task(listen())
    while time.monotonic() < until:
        (await client.get("/runs/live")).raise_for_status()
        await asyncio.sleep(2.0)
    listening.cancel()
    return steps


async def many_tabs(url: str, token: str, metrics: Path, process: psutil.Process, args: Any) -> dict[str, Any]:
    """Many tabs on a run that goes on."""
    headers = {"Authorization": f"Bearer {token}"}
    until = time.monotonic() + 60 * args.minutes
    limits = httpx2.Limits(max_connections=None)
    step = 20
    memory: list[int] = []
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=60.0, trust_env=False
    ) as client:
        tabs = [asyncio.create_task(tab(client, until)) for _ in range(args.tabs)]
        with metrics.open("a", encoding="utf-8") as file:
            while time.monotonic() < until - 5:
                step += 1
                file.write(line_of(step))
                file.flush()
                if step % 25 == 0:
                    memory.append(process.memory_info().rss)
                await asyncio.sleep(SECONDS_BETWEEN)
        streams = await asyncio.gather(*tabs)
    complete = sum(one == list(range(one[0], step + 1)) for one in streams)
    return {
        "tabs": args.tabs,
        "minutes": args.minutes,
        "steps": step,
        "tabs_with_every_step": complete,
        "memory_mb_first_middle_last": [memory[i] // 2**20 for i in (0, len(memory) // 2, -1)],
        "memory_mb_most": max(memory) // 2**20,
    }


async def measured(root: Path, args: Any) -> dict[str, Any]:
    """All figures."""
    write_run(root / "long", STEPS)
    metrics = write_run(root / "live", 20)
    for number in range(RUNS):
        write_run(root / "many" / str(number), 1)
    command = [sys.executable, "-m", "weitiao", "ui", str(root), "--port", "0", "--no-open", "--json"]
    begun = time.perf_counter()
    with subprocess.Popen(
        [*command, "--home", str(root / ".queue")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as server:  # fmt: skip
        assert server.stdout is not None
        address = urlsplit(json.loads(server.stdout.readline())["url"])
        ready = time.perf_counter() - begun
        url, token = f"http://{address.netloc}", parse_qs(address.query)["token"][0]
        process = psutil.Process(server.pid)
        headers = {"Authorization": f"Bearer {token}"}
        found: dict[str, Any] = {"seconds_to_ready": round(ready, 2)}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60.0, trust_env=False) as client:
            found["ms_first_page"] = round((await asked(client, "/", 1))[0])
            for name, path in {
                "home": "/", "run": "/runs/live", "serve": "/serve", "label": "/label", "settings": "/settings",
            }.items():  # fmt: skip
                found[f"ms_{name}"] = round(statistics.median(await asked(client, path)))
            drawn = await asked(client, "/api/runs/long/metrics?points=600&series=loss&series=loss:", 3)
            found[f"ms_{STEPS}_steps_first_then"] = [round(one) for one in drawn]
        found |= await many_tabs(url, token, metrics, process, args)
        server.terminate()
    return found


def main() -> None:
    """Measure, and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=5.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(measured(Path(folder), args)), indent=1))


if __name__ == "__main__":
    main()
