"""A server under mixed, malformed, huge, slow and aborted requests: python -m benchmarks.serve load [--minutes N]

Starts `weitiao serve`, lets clients ask it in a loop, and kills its engine in the middle where there is a process to
kill. Every request has to be answered whole or told why not; memory has to stay flat. Exits with 1 where not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

GROWTH = 0.05
"""How much memory may grow from the second fifth of the time to the last."""

_TIMEOUT_SECONDS = 60.0
_RECOVERY_SECONDS = 10.0
_PLANNED = (200, 400, 404, 408, 413, 429)


@dataclass
class Load:
    """What clients share.

    Attributes:
        url: Of the server.
        model: Its name there.
        random: Of the mix.
        outcomes: How often each kind of request ended how.
        broken: What should not have happened.
        killed: When the engine was killed last, on the monotonic clock; shortly after, requests may be told so.
    """

    url: str
    model: str
    random: random.Random
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    killed: float = -1e9

    def body(self, **more: Any) -> dict[str, Any]:
        """A request for a chat, of a random length."""
        words = " ".join(self.random.choices(["tell", "me", "why", "the", "sky", "is", "蓝", "😀", "12"], k=20))
        tokens = self.random.choice([1, 8, 32, 64])
        turns = [{"role": "user", "content": words[: self.random.randint(1, 80)] + "?"}]
        return {"model": self.model, "messages": turns, "max_tokens": tokens, "temperature": 0.7, **more}

    def is_recovering(self) -> bool:
        """Whether the engine was killed a moment ago."""
        return time.monotonic() - self.killed < _RECOVERY_SECONDS


Kind = Callable[[Load, httpx2.AsyncClient], Awaitable[str]]


async def _whole(load: Load, client: httpx2.AsyncClient) -> str:
    reply = await client.post("/v1/chat/completions", json=load.body(n=load.random.choice([1, 1, 2])))
    if reply.status_code == 200:
        assert all(one["finish_reason"] in ("stop", "length") for one in reply.json()["choices"]), reply.text
        name = reply.json()["id"]
        rated = await client.post("/v1/feedback", json={"id": name, "rating": load.random.choice(["good", "bad"])})
        assert rated.status_code == 200, rated.text
    return str(reply.status_code)


async def _streamed(load: Load, client: httpx2.AsyncClient, *, wait: float = 0.0, leave: bool = False) -> str:
    body = load.body(stream=True, user=f"user {load.random.randint(0, 50)}")
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        last = ""
        async for line in reply.aiter_lines():
            if leave and line:
                return "left"
            last = line or last
            await asyncio.sleep(wait)
        if reply.status_code == 200 and last != "data: [DONE]":
            assert "engine_error" in last, last
            return "told"
        return str(reply.status_code)


async def _slow_reader(load: Load, client: httpx2.AsyncClient) -> str:
    return await _streamed(load, client, wait=0.05)


async def _leaving(load: Load, client: httpx2.AsyncClient) -> str:
    return await _streamed(load, client, leave=True)


async def _impatient(load: Load, client: httpx2.AsyncClient) -> str:
    try:
        return str((await client.post("/v1/chat/completions", json=load.body(), timeout=0.05)).status_code)
    except httpx2.TimeoutException:
        return "left"


async def _schema(load: Load, client: httpx2.AsyncClient) -> str:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    reply = await client.post("/v1/chat/completions", json=load.body(response_format=form))
    return str(reply.status_code)


async def _other_interfaces(load: Load, client: httpx2.AsyncClient) -> str:
    path, body = load.random.choice(
        [
            ("completions", {"model": load.model, "prompt": "The sky is", "max_tokens": 8}),
            ("responses", {"model": load.model, "input": "Why?", "max_output_tokens": 8}),
        ]
    )
    return str((await client.post(f"/v1/{path}", json=body)).status_code)


async def _malformed(load: Load, client: httpx2.AsyncClient) -> str:
    content = load.random.choice(
        [
            b"", b"{", b"\xff\xfe", b"[" * 50_000, b'{"model": 1e999}', b"null",
            json.dumps(load.body(surprise=1)).encode(),
            json.dumps(load.body(messages=[{"role": "user", "content": "\ud800"}])).encode(),
            json.dumps(load.body(messages=[{"role": "robot"}])).encode(),
            json.dumps(load.body(model="nobody")).encode(),
        ]
    )  # fmt: skip
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/v1/chat/completions", content=content, headers=headers)
    assert reply.status_code in (400, 404), reply.text
    return "refused"


async def _huge(load: Load, client: httpx2.AsyncClient) -> str:
    size = load.random.choice([100_000, 1_000_000, 5_000_000])
    turns = [{"role": "user", "content": "a " * (size // 2)}]
    try:
        reply = await client.post("/v1/chat/completions", json=load.body(messages=turns))
    except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
        return "cut off"  # refused by its length, while it was still being sent
    assert reply.status_code in (400, 413, 429), reply.text
    return "refused"


async def _slow_body(load: Load, client: httpx2.AsyncClient) -> str:
    async def bytewise() -> Any:
        for byte in json.dumps(load.body()).encode()[: load.random.choice([20, 10_000])]:
            yield bytes([byte])
            await asyncio.sleep(0.002)

    headers = {"Content-Type": "application/json"}
    return str((await client.post("/v1/chat/completions", content=bytewise(), headers=headers)).status_code)


KINDS: tuple[Kind, ...] = (
    _whole, _whole, _streamed, _streamed, _slow_reader, _leaving, _impatient, _schema, _other_interfaces, _malformed,
    _huge, _slow_body,
)  # fmt: skip


async def _client(load: Load, until: float) -> None:
    async with httpx2.AsyncClient(base_url=load.url, timeout=_TIMEOUT_SECONDS) as client:
        while time.monotonic() < until:
            kind = load.random.choice(KINDS)
            name = kind.__name__.removeprefix("_")
            try:
                outcome = await kind(load, client)
            except (httpx2.HTTPError, AssertionError) as error:
                load.broken.append(f"{name}: {error!r:.300}")
                continue
            load.outcomes[name, outcome] += 1
            allowed = (
                outcome in map(str, _PLANNED) or not outcome.isdigit() or (outcome == "503" and load.is_recovering())
            )
            if not allowed or (outcome == "told" and not load.is_recovering()):
                load.broken.append(f"{name}: {outcome}")


async def _watch(load: Load, server: psutil.Process, until: float, samples: list[tuple[float, int]]) -> None:
    """Sample the memory of all processes; kill the engine once, in the middle of the third fifth."""
    begun = time.monotonic()
    kill_at: float | None = begun + (until - begun) / 2
    while time.monotonic() < until:
        children = server.children(recursive=True)
        samples.append((time.monotonic(), sum(one.memory_info().rss for one in (server, *children))))
        if kill_at is not None and time.monotonic() > kill_at and children:
            load.killed, kill_at = time.monotonic(), None
            os.kill(children[0].pid, signal.SIGKILL)
        await asyncio.sleep(0.5)


async def _run(load: Load, server: psutil.Process, minutes: float, clients: int) -> list[int]:
    begun = time.monotonic()
    until, samples = begun + minutes * 60, []  # type: float, list[tuple[float, int]]
    await asyncio.gather(_watch(load, server, until, samples), *(_client(load, until) for _ in range(clients)))
    fifths: list[list[int]] = [[] for _ in range(5)]
    for moment, size in samples:
        fifths[min(4, int(5 * (moment - begun) / (until - begun)))].append(size)
    return [int(statistics.median(one)) for one in fifths]


def main(arguments: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.serve load")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [
            sys.executable, "-m", "weitiao", "serve", f"a={asked.model}", "--engine", asked.engine, "--port", "0",
            "--json", "--slots", "4", "--queue", "4", "--context", "512", "--route", "a=1",
            "--feedback", f"{folder}/feedback.db",
        ]  # fmt: skip
        with log.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(log.read_text())
            load = Load(json.loads(line)["url"], "a", random.Random(asked.seed))
            memory = asyncio.run(_run(load, psutil.Process(process.pid), asked.minutes, asked.clients))
            crashed = process.poll()
            process.terminate()
            ended = process.wait(90)
        told = log.read_text()
        bugs = told.count("Traceback")
    growth = memory[4] / memory[1] - 1
    print("| request | outcome | times |\n| --- | --- | --- |")
    for (name, outcome), number in sorted(load.outcomes.items()):
        print(f"| {name} | {outcome} | {number:,} |")
    sizes = ", ".join(f"{one / 2**20:,.0f}" for one in memory)
    print(f"\nMemory of all processes, median of each fifth: {sizes} MiB ({growth:+.1%} from the second to the last).")
    print(f"Tracebacks in the log: {bugs}. Exit code: {ended}. Broken: {len(load.broken)}")
    for one in load.broken[:20]:
        print(f"- {one}")
    if bugs:
        print(told[told.index("Traceback") :][:5000])
    if load.broken or crashed is not None or ended != 0 or bugs or growth > GROWTH:
        raise SystemExit(1)
