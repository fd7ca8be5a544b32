"""Time supervised fine-tuning: python -m benchmarks.sft alpaca|banking NUM_ROWS --data DIR [--method lora|full|freeze]

Goes through the real path (recipe, rendering, plan, loop, checkpoint) and prints one JSON line at the end. `seconds` is
the time of all steps, from planning the forest to the optimiser; loading, the checkpoint at the end and the floor are
not in it. `freeze` tunes the last two layers, in three epochs where no number is given.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from weitiao.machine.hardware import configure_process

BATCH_SIZE = {"alpaca": 16, "banking": 100}
TOKEN_BUDGET = {"alpaca": 3072, "banking": 2048}
RATES = {"lora": 1e-4, "full": 2e-5, "freeze": 5e-5}
EPOCHS = {"lora": 1, "full": 1, "freeze": 3}


def main() -> None:
    """Parse, train, measure, print."""
    configure_process()
    from benchmarks.floor import floor_seconds
    from benchmarks.works import load_work, lora_method
    from weitiao.forest.plan import Plan
    from weitiao.machine.cgroup import peak_bytes
    from weitiao.methods.open import open_model
    from weitiao.recipe import recipe_from_dict
    from weitiao.study.dataset import load_rendered
    from weitiao.study.train import train
    from weitiao.training.metrics import read_metrics

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=sorted(BATCH_SIZE))
    parser.add_argument("num_rows", type=int)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--method", choices=sorted(EPOCHS), default="lora")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--keep-states", type=float, default=4.0, help="GiB, with --method freeze")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--token-budget", type=int)
    parser.add_argument("--no-fused", dest="fused", action="store_false")
    parser.add_argument("--no-sharing", dest="sharing", action="store_false")
    parser.add_argument("--no-floor", dest="floor", action="store_false")
    args = parser.parse_args()
    epochs = args.epochs or EPOCHS[args.method]
    methods: dict[str, dict[str, Any]] = {
        "lora": {**lora_method(), "fused": args.fused},
        "full": {},
        "freeze": {"layers": 2, "keep_states": args.keep_states},
    }

    work = load_work(args.work, args.num_rows, args.data)
    with tempfile.TemporaryDirectory() as directory:
        rows = Path(directory) / "rows.jsonl"
        rows.write_text("".join(json.dumps({"messages": m}) + "\n" for m in work.messages), encoding="utf-8")
        recipe = recipe_from_dict(
            {
                "model": {"name": args.model, "dtype": args.dtype},
                "data": {"train": str(rows)},
                "rendering": {"max_length": work.cutoff, "on_long": "truncate"},
                "method": {"type": args.method, **methods[args.method]},
                "train": {
                    "epochs": epochs,
                    "batch_size": args.batch_size or BATCH_SIZE[args.work],
                    "token_budget": args.token_budget or TOKEN_BUDGET[args.work],
                    "learning_rate": RATES[args.method],
                    "schedule": "linear",
                    "warmup": 0,
                    "save_every": 10**6,
                    "share_prefixes": args.sharing,
                },
                "run_dir": str(Path(directory) / "run"),
            }
        )
        run = train(recipe)
        peak_mib = peak_bytes() // 2**20
        steps = [line for line in read_metrics(run.path / "metrics.jsonl") if "loss" in line]
        result = {
            "peer": "weitiao",
            "work": args.work,
            "method": args.method,
            "packing": True,
            "samples": args.num_rows,
            "seconds": round(run.seconds, 2),
            "seconds_per_epoch": [
                round(sum(line["seconds"] for line in steps if epoch < line["epoch"] <= epoch + 1), 2)
                for epoch in range(epochs)
            ],
            "samples_per_second": round(epochs * args.num_rows / run.seconds, 4),
            "first_loss": steps[0]["loss"],
            "last_loss": steps[-1]["loss"],
            "peak_rss_mib": peak_mib,
            "batch_size": recipe.train.batch_size,
            "tokens": sum(line["num_tokens"] for line in steps),
            "computed_tokens": sum(line["num_computed_tokens"] for line in steps),
        }
        if args.floor and args.method == "lora":
            data = load_rendered(recipe, tell=lambda line: None)
            budget = recipe.train.token_budget
            assert isinstance(budget, int)
            plan = Plan(data.train, recipe.train.batch_size, budget, recipe.train.share_prefixes, recipe.train.seed)
            forests = [f for step in map(plan.step, range(plan.steps_per_epoch)) for f in step.forests]
            products, attention = floor_seconds(open_model(run.path, base=recipe.model).model, forests)
            result |= {
                "floor_seconds": round(products, 2),
                "floor_share": round(products / run.seconds, 3),
                "attention_floor_seconds": round(attention, 2),
                "floor_share_with_attention": round((products + attention) / run.seconds, 3),
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
