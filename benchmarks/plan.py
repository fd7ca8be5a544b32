"""Forecast against measurement: python -m benchmarks.plan --data DIR [--only NAME ...] [--threads N]

Trains every case for a few steps in a process of its own, which prints the most memory that it ever had, and the
seconds of its steps; forecasts the same before. Prints one line per case and a summary: errors in percent, positive
where the forecast is too high.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from weitiao.machine.hardware import configure_process

STEPS = 4

SHAPES: dict[str, dict[str, Any]] = {
    "wide": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 6, "num_attention_heads": 16,
             "num_key_value_heads": 4, "vocab_size": 49152, "tie_word_embeddings": False},
    "deep": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 40, "num_attention_heads": 6,
             "num_key_value_heads": 6, "vocab_size": 49152, "tie_word_embeddings": True},
    "small": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8,
              "num_key_value_heads": 4, "vocab_size": 49152, "tie_word_embeddings": True},
    "linear": {"model_type": "qwen3_5_text", "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8,
               "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 49152,
               "linear_num_key_heads": 4, "linear_num_value_heads": 8, "linear_key_head_dim": 64,
               "linear_value_head_dim": 64, "tie_word_embeddings": True},
    "mamba": {"model_type": "granitemoehybrid", "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8,
              "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 49152, "mamba_n_heads": 16,
              "mamba_d_head": 64, "mamba_d_state": 64, "num_local_experts": 0, "shared_intermediate_size": 1408,
              "layer_types": ["mamba", "mamba", "mamba", "attention"] * 2, "tie_word_embeddings": True},
}  # fmt: skip
"""Random models of other shapes than SmolLM2, with its tokenizer: Llamas, and two hybrids, whose rows run alone."""

_OTHER = {"hidden_size": 640, "intermediate_size": 1728, "num_hidden_layers": 16, "num_attention_heads": 10,
          "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 49152, "tie_word_embeddings": True}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"model_type": "qwen3", **_OTHER},
    "olmo2": {"model_type": "olmo2", **_OTHER},
    "gemma": {"model_type": "gemma", **_OTHER},
    "gemma3": {"model_type": "gemma3_text", **_OTHER, "sliding_window": 128},
    "mixtral": {"model_type": "mixtral", **_OTHER, "intermediate_size": 864, "num_local_experts": 4},
}
"""Random models of other families that are fused, with SmolLM2's tokenizer."""
SHAPES |= FAMILIES

CASES: dict[str, dict[str, Any]] = {
    "lora": {},
    "lora 512 tokens": {"train": {"token_budget": 512}},
    "lora 2048 tokens": {"train": {"token_budget": 2048, "batch_size": 12}},
    "lora batch 2": {"train": {"batch_size": 2}},
    "lora unfused": {"method": {"fused": False}},
    "lora dora": {"method": {"dora": True}},
    "lora mlp": {"method": {"target_modules": ["gate_proj", "up_proj", "down_proj"], "r": 64}},
    "lora checkpointing": {"train": {"checkpointing": True}},
    "lora nf4": {"model": {"quantization": "nf4"}},
    "lora int8": {"model": {"quantization": "int8"}},
    "lora short rows": {"rendering": {"max_length": 96}},
    "ia3": {"method": {"type": "peft", "tuner": "ia3"}},
    "full": {"method": {"type": "full"}},
    "full 2048 tokens": {"method": {"type": "full"}, "train": {"token_budget": 2048}},
    "full checkpointing": {"method": {"type": "full"}, "train": {"checkpointing": True}},
    "full adafactor": {"method": {"type": "full"}, "optimizer": {"type": "adafactor"}},
    "full sgd": {"method": {"type": "full"}, "optimizer": {"type": "sgd"}},
    "full lomo": {"method": {"type": "full"}, "optimizer": {"type": "lomo"}, "train": {"batch_size": 3}},
    "freeze": {"method": {"type": "freeze"}},
    "freeze 8 layers": {"method": {"type": "freeze", "layers": 8, "head": True}},
    "freeze first": {"method": {"type": "freeze", "layers": -2}},
    "freeze none kept": {"method": {"type": "freeze", "keep_states": 0}, "train": {"max_steps": 10}},
    "freeze kept": {"method": {"type": "freeze"}, "train": {"max_steps": 10}},
    "bitfit": {"method": {"type": "bitfit"}},
    "adapter": {"method": {"type": "adapter"}},
    "wide lora": {"shape": "wide"},
    "wide full": {"shape": "wide", "method": {"type": "full"}},
    "deep lora": {"shape": "deep"},
    "deep freeze": {"shape": "deep", "method": {"type": "freeze"}},
    "wide freeze": {"shape": "wide", "method": {"type": "freeze"}},
    "wide freeze first": {"shape": "wide", "method": {"type": "freeze", "layers": -2}},
    "wide freeze head": {"shape": "wide", "method": {"type": "freeze", "head": True, "embeddings": True}},
    **{f"{name} lora": {"shape": name} for name in FAMILIES},
    "ranks lora": {"shape": "small", "ranks": 2, "train": {"token_budget": 512}},
    "ranks full": {"shape": "small", "ranks": 2, "method": {"type": "full"}, "train": {"token_budget": 512}},
    "ranks accumulating": {"shape": "small", "ranks": 2, "method": {"type": "full"}, "train": {"token_budget": 256}},
    "ranks freeze": {"shape": "small", "ranks": 2, "method": {"type": "freeze"}, "train": {"token_budget": 512}},
    "ranks short": {"shape": "small", "ranks": 2, "rendering": {"max_length": 96}, "train": {"batch_size": 2}},
    "linear lora": {"shape": "linear"},
    "linear full": {"shape": "linear", "method": {"type": "full"}},
    "mamba lora": {"shape": "mamba"},
    "mamba full": {"shape": "mamba", "method": {"type": "full"}},
}
"""Settings of a recipe by the name of the case; the rest is SmolLM2, LoRA,
batches of 6 `alpaca` rows, 1,024 tokens at once."""


def main() -> None:
    """Run every case, or, as a child, one training."""
    configure_process()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=CASES)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--calibration", type=float, default=20, help="seconds that a forecast may measure")
    parser.add_argument("--train", help="one training of this recipe, as JSON (what the program calls itself with)")
    parser.add_argument("--forecast", help="one forecast of it")
    args = parser.parse_args()
    if args.train or args.forecast:
        values = json.loads(args.train or args.forecast)
        print(json.dumps(_train(values) if args.train else _forecast(values, args.calibration)))
        return
    errors: dict[str, list[float]] = {"memory": [], "time": []}
    print(f"{'case':20} {'GiB':>6} {'said':>6} {'error':>6}   {'s/step':>7} {'said':>7} {'error':>6}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for name in args.only or CASES:
            recipe = _recipe(CASES[name], args, Path(directory))
            if (ranks := CASES[name].get("ranks", 1)) > 1:
                said, seen = _launched(recipe, ranks)
            else:
                said, seen = _child("--forecast", recipe, args), _child("--train", recipe, args)
            memory, time = (said[what] / seen[what] - 1 for what in ("bytes", "seconds"))
            errors["memory"].append(memory)
            errors["time"].append(time)
            print(
                f"{name:20} {seen['bytes'] / 2**30:6.2f} {said['bytes'] / 2**30:6.2f} {memory:+6.1%}   "
                f"{seen['seconds']:7.2f} {said['seconds']:7.2f} {time:+6.1%}",
                flush=True,
            )
    for what, found in errors.items():
        middle = statistics.median(map(abs, found))
        print(
            f"{what}: middle {middle:.1%}, worst {max(map(abs, found)):.1%}, lowest {min(found):+.1%}, n={len(found)}"
        )


def _recipe(case: dict[str, Any], args: argparse.Namespace, directory: Path) -> dict[str, Any]:
    from benchmarks.works import load_work

    rows = directory / "rows.jsonl"
    messages = load_work("alpaca", args.rows, args.data).messages
    rows.write_text("".join(json.dumps({"messages": one}) + "\n" for one in messages), encoding="utf-8")
    model = _random_model(case["shape"], directory) if "shape" in case else "smollm2-135m"
    threads = {} if args.threads is None else {"threads": args.threads}
    train = {"max_steps": STEPS, "batch_size": 6, "token_budget": 1024, **threads}
    return {
        "model": {"name": model, "dtype": "float32", **case.get("model", {})},
        "data": {"train": str(rows)},
        "rendering": {"max_length": 256, "on_long": "truncate", **case.get("rendering", {})},
        "method": case.get("method", {}),
        "train": {**train, **case.get("train", {})},
        **({"optimizer": case["optimizer"]} if "optimizer" in case else {}),
    }


def _random_model(name: str, directory: Path) -> str:
    """A model of this shape with random weights and SmolLM2's tokenizer, as a directory."""
    path = directory / name
    if not path.exists():
        from transformers import AutoConfig, AutoModelForCausalLM

        from weitiao.models.config import ModelConfig
        from weitiao.models.load import load_tokenizer

        config = AutoConfig.for_model(**{"model_type": "llama", **SHAPES[name]})
        AutoModelForCausalLM.from_config(config).save_pretrained(path)
        load_tokenizer(ModelConfig(name="smollm2-135m")).save_pretrained(path)
    return str(path)


def _child(what: str, recipe: dict[str, Any], args: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.plan", "--data", str(args.data), what, json.dumps(recipe),
               "--calibration", str(args.calibration)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _launched(recipe: dict[str, Any], num_ranks: int) -> tuple[dict[str, float], dict[str, float]]:
    """What a training of several processes, with a thread each, said and saw of itself."""
    run = Path(recipe["data"]["train"]).parent / "run"
    shutil.rmtree(run, ignore_errors=True)
    path = run.with_name("recipe.yaml")
    path.write_text(json.dumps({**recipe, "run_dir": str(run), "train": {**recipe["train"], "threads": 1}}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks),
               "-m", "weitiao", "train", str(path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads((run / "forecast.json").read_text(encoding="utf-8"))
    names = {"bytes": "memory_bytes", "seconds": "seconds_per_step"}
    said, seen = ({key: found[name][of] for key, name in names.items()} for of in ("forecast", "measured"))
    return said, seen


def _train(values: dict[str, Any]) -> dict[str, float]:
    from weitiao.machine.cgroup import peak_bytes
    from weitiao.recipe import recipe_from_dict
    from weitiao.study.train import train
    from weitiao.training.metrics import read_metrics

    with tempfile.TemporaryDirectory() as directory:
        run = train(recipe_from_dict({**values, "run_dir": f"{directory}/run"}), tell=lambda line: None)
        steps = [line["seconds"] for line in read_metrics(run.path / "metrics.jsonl") if "loss" in line]
    return {"bytes": float(peak_bytes()), "seconds": statistics.mean(steps)}


def _forecast(values: dict[str, Any], calibration_seconds: float) -> dict[str, float]:
    import torch

    from weitiao.machine.hardware import detect_hardware
    from weitiao.recipe import recipe_from_dict
    from weitiao.study.plan import forecast_here
    from weitiao.study.prepared import prepare
    from weitiao.study.setup import set_threads

    recipe = recipe_from_dict({**values, "run_dir": "no/run"})
    set_threads(recipe, detect_hardware())
    prepared = prepare(recipe, torch.device("cpu"), lambda line: None)
    found = forecast_here(prepared, calibration_seconds=calibration_seconds)
    return {"bytes": found.num_bytes, "seconds": found.seconds / found.num_steps}


if __name__ == "__main__":
    main()
