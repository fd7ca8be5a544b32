"""What a server refuses and survives: sizes, keys, full queues, clients that leave, a killed engine, its own end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
from openai import OpenAI
from serving import MODEL, Served, serving
from workbench import weitiao

LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me a very long story."}], "seed": 1}


def with_schema(schema: Any) -> Any:
    return {**LONG, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


def post(url: str, body: Any, path: str = "/v1/chat/completions", **more: Any) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return httpx2.post(f"{url}{path}", content=content, headers=headers, timeout=60, **more)


def engine_of(served: Served) -> psutil.Process:
    port = urlsplit(served.url).port
    (server,) = {one.pid for one in psutil.net_connections("tcp4") if (one.laddr.port, one.status) == (port, "LISTEN")}
    (child,) = [one for one in psutil.Process(server).children() if "llama_child" in " ".join(one.cmdline())]
    return child


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"model": "\xff"}', 400, "parsing the body"),
        (b"{", 400, "JSON"),
        (b"[" * 100_000, 400, "body"),
        ({**LONG, "messages": [{"role": "user", "content": "\ud800"}]}, 400, "surrogate"),
        ({**LONG, "surprise": 1}, 400, "surprise"),
        ({**LONG, "temperature": float("nan")}, 400, "temperature"),
        ({**LONG, "max_tokens": 10**30}, 400, "at most"),
        ({**LONG, "n": 100}, 400, "n: at most 8"),
        ({**LONG, "messages": [{"role": "user", "content": "a"}] * 600}, 400, "at most 512 turns"),
        ({**LONG, "tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "no tool calls"),
        ({**LONG, "response_format": {"type": "json_schema"}}, 400, "schema is missing"),
        (with_schema({"properties": {"a": {"$ref": "#/b"}}}), 400, "there is no '#/b'"),
        (with_schema({"$ref": "https://example.com/schema"}), 400, "there is no 'https"),
        (with_schema({"type": "nonsense"}), 400, "'nonsense' is not valid"),
        ({**LONG, "messages": [{"role": "user", "content": "a" * 3_000_000}]}, 413, "2,097,152"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_told(served: Served, body: Any, status: int, told: str) -> None:
    found = post(served.url, body)
    assert found.status_code == status, found.text
    assert told in found.json()["error"]["message"]


def test_other_hosts_and_paths_are_refused(served: Served) -> None:
    assert post(served.url, LONG, headers={"Host": "evil.example:8000"}).status_code == 403
    assert httpx2.get(f"{served.url}/nothing").json()["error"]["type"] == "not_found_error"
    assert post(served.url, {}, "/v1/models").status_code == 405


def test_a_body_of_unknown_size_is_read_no_further_than_the_limit(served: Served) -> None:
    pieces = (b"x" * 100_000 for _ in range(100))
    found = httpx2.post(
        f"{served.url}/v1/chat/completions", content=pieces, headers={"Content-Type": "application/json"}
    )
    assert found.status_code == 413


def test_curl_streams(served: Served) -> None:
    body = json.dumps({**LONG, "stream": True, "max_tokens": 3})
    command = ["curl", "-sN", f"{served.url}/v1/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n\n")
    assert lines[-2] == "data: [DONE]"
    assert [json.loads(one[6:])["choices"][0]["finish_reason"] for one in lines[:3]] == [None, None, "length"]


def test_a_client_that_leaves_ends_the_computation(served: Served) -> None:
    def busy() -> float:
        line = next(one for one in httpx2.get(f"{served.url}/metrics").text.splitlines() if "weitiao_running{" in one)
        return float(line.rpartition(" ")[2])

    for stream in (True, False):
        with pytest.raises(httpx2.ReadTimeout):
            if stream:
                with httpx2.stream("POST", f"{served.url}/v1/chat/completions", json={**LONG, "stream": True}) as reply:
                    next(reply.iter_lines())
                    raise httpx2.ReadTimeout("enough")
            httpx2.post(f"{served.url}/v1/chat/completions", json=LONG, timeout=0.3)
        until = time.monotonic() + 2
        while busy() and time.monotonic() < until:
            time.sleep(0.05)
        assert busy() == 0


def test_a_killed_engine_is_started_again(served: Served, client: OpenAI) -> None:
    with httpx2.stream("POST", f"{served.url}/v1/chat/completions", json={**LONG, "stream": True}, timeout=30) as reply:
        lines = reply.iter_lines()
        next(lines)
        os.kill(engine_of(served).pid, signal.SIGKILL)
        rest = [one for one in lines if one.startswith("data:")]
    assert "engine_error" in rest[-1]
    begun = time.monotonic()
    assert client.chat.completions.create(**{**LONG, "max_tokens": 2}).usage.completion_tokens == 2
    assert time.monotonic() - begun < 10


def test_a_full_queue_says_when_to_come_again_and_the_end_finishes_answers(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    limits = ["--slots", "1", "--queue", "1", "--context", "512", "--max-tokens", "60"]
    with serving(tmp_path, MODEL, *limits, "--api-key-file", keys) as served:
        assert post(served.url, LONG).status_code == 401
        assert httpx2.get(f"{served.url}/health").status_code == 200
        key = {"Authorization": "Bearer secret"}
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda _: post(served.url, LONG, headers=key), range(4)))
        codes = sorted(one.status_code for one in replies)
        assert codes == [200, 200, 429, 429]
        busy = next(one for one in replies if one.status_code == 429)
        assert int(busy.headers["Retry-After"]) >= 1
        found: list[httpx2.Response] = []
        asking = threading.Thread(target=lambda: found.append(post(served.url, LONG, headers=key)))
        asking.start()
        time.sleep(0.2)
        assert served.end() == 0
        asking.join()
        assert found[0].json()["usage"]["completion_tokens"] == 60


def test_what_cannot_be_served_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = weitiao("serve", MODEL, "--port", port)
        assert done.returncode == 2
        assert f"127.0.0.1:{port} cannot be used" in done.stderr
    assert "nobody would have to bring a key" in weitiao("serve", MODEL, "--host", "0.0.0.0").stderr
    assert "make 1 together" in weitiao("serve", MODEL, "--route", f"{MODEL}=0.5").stderr
    (tmp_path / "broken.gguf").write_bytes(b"GGUF not really")
    done = weitiao("serve", tmp_path / "broken.gguf", "--port", 0)
    assert done.returncode == 2
    assert "is not a whole GGUF file" in done.stderr
