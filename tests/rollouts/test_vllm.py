"""A server that speaks as vLLM's does, with plain PEFT behind it, writes the answers that a model learns from."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from test_rollouts import write_recipe
from transformers import AutoModelForCausalLM
from workbench import steps_of

from weitiao.errors import ModelError, RecipeError
from weitiao.generation.config import GenerationConfig
from weitiao.recipe import load_recipe
from weitiao.rollouts.samples import read_rollout
from weitiao.rollouts.vllm import completions, request
from weitiao.study.train import train


@torch.no_grad()
def drawn(model: Any, body: dict[str, Any], index: int) -> dict[str, Any]:
    """An answer by one forward pass a token."""
    generator = torch.Generator().manual_seed(body["seed"] + index)
    ids, found = list(body["prompt"]), []
    while len(found) < body["max_tokens"]:
        scores = torch.log_softmax(
            model(input_ids=torch.tensor([ids])).logits[0, -1].double() / body["temperature"], -1
        )
        token = int(torch.multinomial(scores.exp(), 1, generator=generator))
        ids.append(token)
        found.append((token, float(scores[token])))
        if token in body["stop_token_ids"]:
            break
    tokens, logprobs = zip(*found, strict=True)
    return {"index": index, "token_ids": tokens, "logprobs": {"token_logprobs": logprobs}}


@contextmanager
def serving(base: Path) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    adapters: dict[str, Any] = {}
    said: list[tuple[str, dict[str, Any]]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            verb, reply = self.path.removeprefix("/v1/"), b"Success"
            with lock:
                said.append((verb, body))
                if verb == "load_lora_adapter":
                    plain = AutoModelForCausalLM.from_pretrained(base)
                    adapters[body["lora_name"]] = peft.PeftModel.from_pretrained(plain, body["lora_path"]).eval()
                elif verb == "unload_lora_adapter":
                    del adapters[body["lora_name"]]
                else:
                    model = adapters[body["model"]]
                    choices = [drawn(model, body, index) for index in reversed(range(body["n"]))]
                    reply = json.dumps({"choices": choices}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", said
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_writes_with_the_adapter_as_it_is_before_each_rollout(tiny_llama_dir: Path, tmp_path: Path) -> None:
    generation = {"max_new_tokens": 6, "temperature": 0.8}
    with serving(tiny_llama_dir) as (url, said):
        rollouts = {"engine": url, "generation": generation}
        run = train(load_recipe(write_recipe(tmp_path, tiny_llama_dir, rollouts=rollouts)))
    steps = steps_of(run.path)
    assert len(steps) == 4
    assert all(one["mismatch"] < 1e-5 for one in steps)  # the server has the weights that the training has
    assert steps[2]["kl"] > 1e-6
    verbs = [verb for verb, _ in said]
    assert verbs == ["load_lora_adapter", *["completions"] * 3, "unload_lora_adapter"] * 4
    assert len({body["lora_name"] for verb, body in said if verb == "load_lora_adapter"}) == 4
    assert not list((run.path / "rollouts" / "adapter").iterdir())
    samples = read_rollout(run.path / "rollouts" / "rollout-000000.jsonl").samples
    assert len({one.token_ids for one in samples}) > 6
    (recipe,) = [write_recipe(tmp_path / "gone", tiny_llama_dir, rollouts={"engine": url})]
    with pytest.raises(ModelError, match="load_lora_adapter cannot be reached"):
        train(load_recipe(recipe))
    full = write_recipe(tmp_path / "full", tiny_llama_dir, rollouts={"engine": url}, method={"type": "full"})
    with pytest.raises(RecipeError, match="takes plain LoRA adapters"):
        train(load_recipe(full))


def test_what_is_asked_and_what_is_replied() -> None:
    body = request("a", (5, 6), 2, GenerationConfig(temperature=0.7, top_k=9, max_new_tokens=3, seed=4), {2, 1}, 0)
    assert (body["prompt"], body["n"], body["stop_token_ids"], body["top_k"]) == ([5, 6], 2, [1, 2], 9)
    assert body["seed"] != request("a", (5, 6), 2, GenerationConfig(seed=4), frozenset({1}), 1)["seed"]
    choice = {"index": 0, "token_ids": [7, 8], "logprobs": {"token_logprobs": [-1, -2]}}
    ended = {"index": 1, "token_ids": [7, 2], "logprobs": {"token_logprobs": [-1, -3]}}
    one, other = completions({"choices": [ended, choice]}, 2, frozenset({2}))
    assert (one.token_ids, one.stopped, one.end, one.logprobs) == ((7, 8), False, None, (-1.0, -2.0))
    assert (other.token_ids, other.stopped, other.end, other.logprobs) == ((7,), True, 2, (-1.0, -3.0))
    with pytest.raises(ValueError, match="1 answers for 2"):
        completions({"choices": [choice]}, 2, frozenset({2}))
    with pytest.raises(ValueError, match="2 tokens, 1 log"):
        completions({"choices": [{**choice, "logprobs": {"token_logprobs": [-1]}}]}, 1, frozenset({2}))
