"""A program that is called and asked as `vllm serve` is, with plain transformers and PEFT behind it."""

from __future__ import annotations

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("serve", choices=["serve"])
parser.add_argument("model")
for name in ("host", "served-model-name", "logprobs-mode", "generation-config"):
    parser.add_argument(f"--{name}", required=True)
for name in ("port", "max-model-len", "max-num-seqs", "max-logprobs", "max-lora-rank"):
    parser.add_argument(f"--{name}", type=int, required=True)
parser.add_argument("--enable-prefix-caching", action="store_true")
parser.add_argument("--enable-lora", action="store_true", required=True)
parser.add_argument("--lora-modules", nargs="+", default=[])
asked = parser.parse_args()
assert asked.logprobs_mode == "raw_logprobs"
lock = Lock()
models: dict[str, Any] = {}


def load(name: str, path: str | None) -> None:
    plain = AutoModelForCausalLM.from_pretrained(asked.model).eval()
    models[name] = plain if path is None else peft.PeftModel.from_pretrained(plain, path).eval()


load(asked.served_model_name, None)
for module in asked.lora_modules:
    load(*module.split("=", 1))


@torch.no_grad()
def written(body: dict[str, Any]) -> Any:
    """Greedy answers, an event for each token."""
    ids = list(body["prompt"])
    for number in range(body["max_tokens"]):
        scores = torch.log_softmax(models[body["model"]](input_ids=torch.tensor([ids])).logits[0, -1].float(), -1)
        token = int(scores.argmax())
        ids.append(token)
        best = scores.topk(max(1, body["logprobs"]))
        told = {f"token_id:{one}": float(value) for value, one in zip(best.values, best.indices, strict=True)}
        ended = token in body["stop_token_ids"]
        finish = "stop" if ended else "length" if number + 1 == body["max_tokens"] else None
        logprobs = {"token_logprobs": [float(scores[token])], "top_logprobs": [told]}
        yield {"choices": [{"token_ids": [token], "logprobs": logprobs, "finish_reason": finish}]}
        if ended:
            return


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.headers["Authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}"
        self.send_response(200 if known else 401)
        self.end_headers()
        with lock:
            if self.path == "/v1/load_lora_adapter":
                load(body["lora_name"], body["lora_path"])
            elif self.path == "/v1/unload_lora_adapter":
                del models[body["lora_name"]]
            else:
                for event in written(body):
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""


ThreadingHTTPServer((asked.host, asked.port), Handler).serve_forever()
