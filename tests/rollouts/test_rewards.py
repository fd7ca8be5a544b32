"""Rewards add up with weights, and an answer that cannot be scored has none."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from weitiao.errors import ModelError
from weitiao.evaluation.metrics.base import Item
from weitiao.evaluation.metrics.endpoint import Endpoint
from weitiao.recipe import recipe_from_dict
from weitiao.rollouts.config import RewardConfig, RolloutsConfig
from weitiao.rollouts.rewards import Rewards

ITEMS = [Item(answer, "7") for answer in ("7", "it is 7", "8", "")]


class Server(HTTPServer):
    """Grades an answer by its length, and fails as it is told."""

    requests: list[dict[str, Any]]
    faults: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked)
        fault = self.server.faults.pop(0) if self.server.faults else ""
        self.send_response(503 if fault == "down" else 200)
        self.end_headers()
        grades: list[Any] = [len(one["answer"]) * 2.5 or None for one in asked["items"]]
        reply = {"few": grades[1:], "text": ["good"] * len(grades)}.get(fault, grades)
        self.wfile.write(b"nonsense" if fault == "nonsense" else json.dumps({"grades": reply}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.requests, found.faults = [], []
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()


def test_weighted_parts_add_up(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def far(answer, expected, row):\n    return -100.0 * len(row['messages'])\n")
    given = ["exact_match", {"type": "length", "least": 2, "weight": 0.5}, {"by": "own.py:far", "weight": 2}]
    config = RolloutsConfig.model_validate({"rewards": given}).located([tmp_path])
    again = RolloutsConfig.model_validate(config.model_dump(mode="json"))  # as a run directory keeps it
    rewards = Rewards(again.rewards)
    found = rewards.score([Item("7", "7", ({"role": "user", "content": "?"},)), Item("it is 7", "7")])
    assert found == [
        ({"exact_match": 1, "length": 0, "far": -100}, ""),
        ({"exact_match": 0, "length": 1, "far": 0}, ""),
    ]
    assert [rewards.total(scores) for scores, _ in found] == [-199.0, 0.5]


def test_a_server_grades_in_batches(server: Server) -> None:
    given = {"type": "endpoint", "url": f"http://127.0.0.1:{server.server_port}/", "batch_size": 3}
    found = Rewards([RewardConfig.model_validate(given)]).score(ITEMS)
    assert [scores for scores, _ in found] == [{"endpoint": 2.5}, {"endpoint": 17.5}, {"endpoint": 2.5}, {}]
    assert found[3][1] == "endpoint gave nan, which is not finite."
    assert [len(one["items"]) for one in server.requests] == [3, 1]
    assert server.requests[0]["items"][1] == {
        "row_id": "", "prompt": [], "answer": "it is 7", "expected": "7", "columns": {},
    }  # fmt: skip
    with pytest.raises(ModelError, match="not from 0 to 1"):  # as a metric
        Endpoint.model_validate(given).build().grade(ITEMS[0])


@pytest.mark.parametrize("fault", ["down", "nonsense", "few", "text"])
def test_a_batch_that_a_server_fails_on_is_dropped_alone(
    fault: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weitiao.evaluation.metrics.endpoint._WAIT_SECONDS", 0.01)
    url = f"http://127.0.0.1:{server.server_port}/"
    given = {"type": "endpoint", "url": url, "batch_size": 2, "retries": 1}
    server.faults = [fault] * (2 if fault in ("down", "nonsense") else 1)
    found = Rewards([RewardConfig.model_validate(given)]).score(ITEMS[:3])
    assert [bool(why) for _, why in found] == [True, True, False]
    assert url in found[0][1]
    server.faults = ["down"]
    assert Rewards([RewardConfig.model_validate(given)]).score(ITEMS[:1])[0][1] == ""  # the second try


def test_a_judge_that_never_replies_is_asked_once_for_each_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model = f"http://127.0.0.1:{silent.getsockname()[1]}/v1#m"
        reward = RewardConfig.model_validate({"type": "judge", "model": model, "timeout_seconds": 0.2})
        found = Rewards([reward]).score(ITEMS)
        silent.setblocking(False)
        asked = 0
        with pytest.raises(BlockingIOError):
            while True:
                silent.accept()[0].close()
                asked += 1
    assert asked == len(ITEMS)
    assert found == [({}, f"The server {model.removesuffix('#m')}/chat/completions gave no reply within 0.2 s.")] * 4


def test_what_is_no_reward_is_named() -> None:
    base = {"model": "x", "data": {"train": "y"}, "objective": {"type": "grpo"}}
    for wrong in ({"type": "lenght"}, {"by": "number", "wieght": 1}):
        with pytest.raises(Exception, match=r"rollouts\.rewards"):
            recipe_from_dict({**base, "rollouts": {"rewards": [wrong]}})
    assert math.isnan(RewardConfig.model_validate({"type": "judge", "model": "http://x#y"}).by._unrated)  # type: ignore[union-attr]
