"""Time learning from pairs: python -m benchmarks.dpo NUM_PAIRS --data DIR [--peer PYTHON]

Goes through the real path, from the rows to `final/`, and prints one JSON line; with `--peer`, the Python of an
environment with TRL (`benchmarks/peer.py`), also that of TRL's DPOTrainer on the same pairs, and the ratios. Loading
is in neither time; the reference is in both, and saving in ours.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from weitiao.machine.hardware import configure_process


def main() -> None:
    """Parse, train, measure, print."""
    configure_process()
    from benchmarks.measure import compare, measured, run_peer
    from benchmarks.works import LORA, load_pairs, lora_method
    from weitiao.models.config import ModelConfig
    from weitiao.models.names import resolve_model
    from weitiao.recipe import recipe_from_dict
    from weitiao.study.train import train
    from weitiao.training.metrics import read_metrics

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("num_pairs", type=int)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--peer-batch", type=int, default=4)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--token-budget", type=int, default=2048)
    args = parser.parse_args()

    rows = load_pairs(args.num_pairs, args.data)
    cutoff = 1024
    with tempfile.TemporaryDirectory() as directory:
        path, run_dir = Path(directory) / "pairs.jsonl", Path(directory) / "run"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        recipe = recipe_from_dict(
            {
                "model": {"name": args.model, "dtype": "float32"},
                "data": {"train": str(path)},
                "rendering": {"max_length": cutoff, "on_long": "truncate"},
                "objective": {"type": "dpo", "beta": 0.1},
                "method": lora_method(),
                "train": {
                    "epochs": 1,
                    "batch_size": args.batch_size,
                    "token_budget": args.token_budget,
                    "learning_rate": 1e-4,
                    "schedule": "linear",
                    "warmup": 0,
                    "save_every": 10**6,
                },
                "run_dir": str(run_dir),
            }
        )
        ours = measured(lambda tell: train(recipe, tell=tell), args.num_pairs)
        steps = [line for line in read_metrics(run_dir / "metrics.jsonl") if "loss" in line]
    ours |= {
        "peer": "weitiao",
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "tokens": sum(line["num_tokens"] for line in steps),
        "computed_tokens": sum(line["num_computed_tokens"] for line in steps),
    }
    print(json.dumps(ours))
    if args.peer is not None:
        model = str(resolve_model(ModelConfig(name=args.model)))
        spec = {"model": model, "rows": rows, "lora": LORA, "cutoff": cutoff, "batch": args.peer_batch}
        theirs = run_peer(args.peer, "dpo", spec, args.num_pairs)
        print(json.dumps(theirs))
        print(json.dumps(compare(ours, theirs)))


if __name__ == "__main__":
    main()
