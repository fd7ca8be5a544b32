"""Time a step of GRPO, or its answers alone: python -m benchmarks.grpo [--rollouts] --data DIR [--peer PYTHON]

16 prompts of `alpaca` (`benchmarks/works.py`), eight answers of 64 tokens to each, LoRA in float32. The model is one
that ends no answer (`endless_model`), so all have the same length in both tools. Prints one JSON line; with `--peer`,
the Python of an environment with TRL (`benchmarks/peer.py`), also that of TRL's GRPOTrainer, or with `--rollouts` that
of `transformers.generate`, and the ratios. Loading is in no time; in that of our step are saving and the trial of the
model before the first forest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from weitiao.machine.hardware import configure_process

PROMPTS, SAMPLES, TOKENS = 16, 8, 64

REWARD = "def distinct(answer, expected, row):\n    return len(set(answer))\n"


def main() -> None:
    """Parse, measure, print."""
    configure_process()
    from benchmarks.measure import compare, run_peer
    from benchmarks.works import LORA, endless_model, load_work
    from weitiao.models.config import ModelConfig
    from weitiao.models.names import resolve_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rollouts", action="store_true")
    parser.add_argument("--kl", type=float, default=0.0)
    parser.add_argument("--batch-size", type=int, default=PROMPTS * SAMPLES, help="answers that are written at once")
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--peer-batch", type=int, default=16, help="its answers at once")
    parser.add_argument("--peer-merged", action="store_true", help="with --rollouts")
    args = parser.parse_args()

    prompts = [messages[:-1] for messages in load_work("alpaca", PROMPTS, args.data).messages]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = directory / "model"
        model.mkdir()
        endless_model(resolve_model(ModelConfig(name="smollm2-135m")), model)
        ours = _answers(model, prompts, args) if args.rollouts else _step(model, prompts, args, directory)
        print(json.dumps({"peer": "weitiao", **ours}))
        if args.peer is not None:
            spec = {
                "model": str(model),
                "rows": prompts,
                "lora": LORA,
                "samples": SAMPLES,
                "tokens": TOKENS,
                "batch": args.peer_batch,
                "kl": args.kl,
                "merged": args.peer_merged,
            }
            theirs = run_peer(args.peer, "generate" if args.rollouts else "grpo", spec, PROMPTS * SAMPLES)
            print(json.dumps(theirs))
            print(json.dumps(compare(ours, theirs)))


def _step(model: Path, prompts: list[Any], args: argparse.Namespace, directory: Path) -> dict[str, Any]:
    from benchmarks.measure import measured
    from benchmarks.works import lora_method
    from weitiao.recipe import recipe_from_dict
    from weitiao.study.train import train
    from weitiao.training.metrics import read_metrics

    rows, reward, run_dir = directory / "prompts.jsonl", directory / "reward.py", directory / "run"
    rows.write_text("".join(json.dumps({"messages": one}) + "\n" for one in prompts), encoding="utf-8")
    reward.write_text(REWARD, encoding="utf-8")
    recipe = recipe_from_dict(
        {
            "model": {"name": str(model), "dtype": "float32"},
            "data": {"train": str(rows)},
            "objective": {"type": "grpo", "kl": args.kl},
            "rollouts": {
                "rewards": f"{reward}:distinct",
                "samples": SAMPLES,
                "generation": {"max_new_tokens": TOKENS, "batch_size": args.batch_size},
            },
            "method": lora_method(),
            "train": {
                "max_steps": 1,
                "batch_size": PROMPTS,
                "token_budget": args.token_budget,
                "learning_rate": 1e-4,
                "schedule": "constant",
                "warmup": 0,
                "save_every": 10**6,
            },
            "run_dir": str(run_dir),
        }
    )
    ours = measured(lambda tell: train(recipe, tell=tell), PROMPTS * SAMPLES)
    (step,) = [line for line in read_metrics(run_dir / "metrics.jsonl") if "loss" in line]
    kept = ("answer_tokens", "mismatch", "num_tokens", "num_computed_tokens")
    return ours | {name: value for name, value in step.items() if name in kept or name.startswith("seconds_")}


def _answers(model: Path, prompts: list[Any], args: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.measure import measured
    from benchmarks.works import lora_method
    from weitiao.generation.generate import probe_answers
    from weitiao.methods.lora import LoraConfig
    from weitiao.methods.open import open_model
    from weitiao.rollouts.config import SamplingConfig
    from weitiao.rollouts.writing import write_here

    opened = open_model(model)
    tuned = LoraConfig.model_validate(lora_method()).build().apply(opened.model, seed=0)  # as a training has it
    found = opened.tokenizer.apply_chat_template(prompts, add_generation_prompt=True)["input_ids"]
    tokens = [ids for ids in found for _ in range(SAMPLES)]
    config = SamplingConfig(max_new_tokens=TOKENS, batch_size=args.batch_size)
    probe_answers(tuned, tokens, config)  # once in a run
    return measured(lambda tell: write_here(tuned, tokens, config, frozenset()), len(tokens))


if __name__ == "__main__":
    main()
