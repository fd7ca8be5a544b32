"""What TRL and transformers take for the same work: PYTHON -P benchmarks/peer.py dpo|grpo|generate SPEC.json

`benchmarks.dpo` and `benchmarks.grpo` write the file and run this with the Python of another environment:

    python -m venv DIR && DIR/bin/pip install torch==2.13.0 trl==1.16.0 peft==0.21.2 transformers==5.23.0 datasets

It imports nothing of weitiao and prints one JSON line. Only the training loop, or the generation, is timed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer


def dpo(spec: dict[str, Any]) -> dict[str, Any]:
    """An epoch over pairs: TRL's default loss, and batches of `batch` pairs."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    settings = DPOConfig(beta=0.1, max_length=spec["cutoff"], per_device_train_batch_size=spec["batch"], **COMMON)
    rows = Dataset.from_list(spec["rows"])
    return _trained(DPOTrainer, args=settings, train_dataset=rows, **_learner(spec))


def grpo(spec: dict[str, Any]) -> dict[str, Any]:
    """One step: all answers are written at once, and learned from in batches of `batch` answers."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    num_answers = len(spec["rows"]) * spec["samples"]
    settings = GRPOConfig(
        beta=spec["kl"],
        num_generations=spec["samples"],
        max_completion_length=spec["tokens"],
        per_device_train_batch_size=spec["batch"],
        gradient_accumulation_steps=num_answers // spec["batch"],
        max_steps=1,
        **COMMON,
    )

    def distinct(completions: list[list[dict[str, str]]], **unused: Any) -> list[float]:
        return [float(len(set(one[0]["content"]))) for one in completions]

    rows = Dataset.from_list([{"prompt": one} for one in spec["rows"]])
    return _trained(GRPOTrainer, args=settings, train_dataset=rows, reward_funcs=distinct, **_learner(spec))


def generate(spec: dict[str, Any]) -> dict[str, Any]:
    """Answers by `transformers.generate`, `batch` at once; their log-probabilities are not asked for."""
    learner = _learner(spec)
    model, tokenizer = get_peft_model(learner["model"], learner["peft_config"]), learner["processing_class"]
    if spec["merged"]:
        model = model.merge_and_unload()
    model.eval()
    rows = [one for one in spec["rows"] for _ in range(spec["samples"])]
    settings = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": spec["tokens"]}
    num_tokens = 0
    with _timed() as result, torch.no_grad():
        for start in range(0, len(rows), spec["batch"]):
            asked = tokenizer.apply_chat_template(
                rows[start : start + spec["batch"]],
                add_generation_prompt=True,
                return_tensors="pt",
                return_dict=True,
                padding=True,
            )
            num_tokens += model.generate(**asked, **settings)[:, asked["input_ids"].shape[1] :].numel()
    return result | {"tokens": num_tokens}


COMMON: dict[str, Any] = {
    "output_dir": tempfile.mkdtemp(),
    "num_train_epochs": 1,
    "learning_rate": 1e-4,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,  # on by default there, and an extra forward pass
    "seed": 0,
}


def _learner(spec: dict[str, Any]) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(spec["model"], padding_side="left")
    return {
        "model": AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32),
        "processing_class": tokenizer,
        "peft_config": LoraConfig(task_type="CAUSAL_LM", **spec["lora"]),
    }


def _trained(trainer: Callable[..., Any], **settings: Any) -> dict[str, Any]:
    made = trainer(**settings)
    with _timed() as result:
        made.train()
    history = [one for one in made.state.log_history if "loss" in one]
    return result | {"first": history[0], "last": history[-1]}


@contextmanager
def _timed() -> Iterator[dict[str, Any]]:
    result: dict[str, Any] = {}
    begun, used = time.perf_counter(), time.process_time()
    yield result
    result["seconds"] = round(time.perf_counter() - begun, 2)
    result["processor_seconds"] = round(time.process_time() - used, 2)


if __name__ == "__main__":
    spec = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    result = {"dpo": dpo, "grpo": grpo, "generate": generate}[sys.argv[1]](spec)
    # not ru_maxrss: a process begins with that of the one that started it
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak_mib = int(status.split("VmHWM:")[1].split()[0]) // 1024
    print(json.dumps({"peer": "trl", "work": sys.argv[1], **result, "peak_rss_mib": peak_mib}))
