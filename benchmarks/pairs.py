"""Pairs of runs in turn, ours and LLaMA-Factory's.

    python -m benchmarks.pairs alpaca|banking NUM_ROWS --data DIR --peer PYTHON

Ours is `benchmarks.sft` in a process of its own; theirs is the same rows, model, adapter and cut-off through
`llamafactory-cli train` of another environment:

    python -m venv DIR && DIR/bin/pip install torch==2.13.0 llamafactory==0.9.5

with its packing (`neat_packing`) and no gradient checkpointing, at its own `train_runtime`. A rate is rows per second:
on `banking`, where a row takes LLaMA-Factory seconds, `--peer-rows` gives it fewer. Prints a JSON line for every run
and at the end the ratios of the pairs, their median and range.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import peer_environment
from benchmarks.sft import EPOCHS, RATES
from benchmarks.works import LORA, load_work

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"lora_target": "all", "lora_rank": LORA["r"], "lora_alpha": LORA["lora_alpha"]},
    "full": {},
    "freeze": {"freeze_trainable_layers": 2},
}


def main() -> None:
    """Parse, run in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["alpaca", "banking"])
    parser.add_argument("num_rows", type=int)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--peer-rows", type=int)
    parser.add_argument("--peer-batch", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--method", choices=sorted(METHODS), default="lora")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--token-budget", type=int)
    args = parser.parse_args()

    ratios, shares = [], []
    for _ in range(args.pairs):
        ours, theirs = _ours(args), _theirs(args)
        print(json.dumps(ours), json.dumps(theirs), sep="\n", flush=True)
        ratios.append(round(ours["samples_per_second"] / theirs["samples_per_second"], 2))
        shares.append(round(ours["peak_rss_mib"] / theirs["peak_rss_mib"], 2))
    middle = {"speed": statistics.median(ratios), "memory": statistics.median(shares)}
    print(json.dumps({**middle, "speeds": ratios, "memories": shares}))


def _ours(args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.sft", args.work, str(args.num_rows), "--data", str(args.data)]
    command += ["--method", args.method, "--no-floor"]
    for name in ("batch_size", "token_budget"):
        if (value := getattr(args, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _theirs(args: argparse.Namespace) -> dict[str, Any]:
    from weitiao.models.config import ModelConfig
    from weitiao.models.names import resolve_model

    num_rows, epochs = args.peer_rows or args.num_rows, EPOCHS[args.method]
    work = load_work(args.work, num_rows, args.data)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "rows.json").write_text(json.dumps([{"messages": one} for one in work.messages]), encoding="utf-8")
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
        info = {
            "file_name": "rows.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {**tags, "system_tag": "system"},
        }
        (directory / "dataset_info.json").write_text(json.dumps({"rows": info}), encoding="utf-8")
        settings = {
            "model_name_or_path": str(resolve_model(ModelConfig(name="smollm2-135m"))),
            "stage": "sft",
            "do_train": True,
            "finetuning_type": args.method,
            **METHODS[args.method],
            "dataset_dir": name,
            "dataset": "rows",
            "template": "chatml",
            "cutoff_len": work.cutoff,
            "packing": True,
            "neat_packing": True,
            "output_dir": str(directory / "out"),
            "per_device_train_batch_size": args.peer_batch,
            "learning_rate": RATES[args.method],
            "num_train_epochs": float(epochs),
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_gradient_checkpointing": True,
            "bf16": False,
            "use_cpu": True,
        }
        (directory / "recipe.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        output, peak_mib = _run([str(args.peer.with_name("llamafactory-cli")), "train", "recipe.yaml"], directory)
    seconds = re.search(r"'?train_runtime'?: '?([\d.]+)", output)
    if seconds is None:
        raise RuntimeError(f"LLaMA-Factory ended without a time:\n{output[-3000:]}")
    return {
        "peer": "llamafactory",
        "work": args.work,
        "method": args.method,
        "samples": num_rows,
        "seconds": float(seconds[1]),
        "samples_per_second": round(epochs * num_rows / float(seconds[1]), 4),
        "losses": [float(loss) for loss in re.findall(r"'loss': '?([\d.]+)", output)],
        "peak_rss_mib": peak_mib,
    }


def _run(command: list[str], directory: Path) -> tuple[str, int]:
    """What a command prints, and the largest resident set of it and its children in MiB."""
    environment = peer_environment() | {"CUDA_VISIBLE_DEVICES": "", "DISABLE_VERSION_CHECK": "1"}
    printed = directory / "printed.txt"
    with printed.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=file, stderr=subprocess.STDOUT)
        _, _, usage = os.wait4(process.pid, 0)
    return printed.read_text(encoding="utf-8"), usage.ru_maxrss // 1024


if __name__ == "__main__":
    main()
