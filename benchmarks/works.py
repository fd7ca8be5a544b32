"""The pieces of work that training speed is measured on: fixed rows, cut-offs and adapter.

Any tool that trains the same rows with the same adapter can be compared by its samples per second. The data directory
holds public files: `instruct/alpaca_en_demo.json` (a JSON array of alpaca rows), `classify/banking77_train.csv`
(columns `text` and `category`, sorted by category), and `preference/dpo_en_demo.json` (LLaMA-Factory's pairs).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Conversation = list[dict[str, str]]

LORA: dict[str, Any] = {
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
"""The adapter of every work, in PEFT's names: every linear layer of a Llama block."""


@dataclass(frozen=True, slots=True)
class Work:
    """Rows to train one epoch on.

    Attributes:
        messages: One conversation per row; the last turn is the answer.
        cutoff: Longest sequence in tokens.
    """

    messages: list[Conversation]
    cutoff: int


def load_work(name: str, num_rows: int, data_dir: Path) -> Work:
    """Read a work's rows.

    Args:
        name: One of `WORKS`.
        num_rows: How many rows to take.
        data_dir: The directory described at the top of this module.

    Returns:
        The rows as conversations, with the work's cut-off.

    Raises:
        ValueError: If the file holds fewer rows than asked for: a rate over other rows would not compare.
    """
    read, cutoff = WORKS[name]
    messages = read(num_rows, data_dir)
    if len(messages) != num_rows:
        raise ValueError(f"{name}: {num_rows} rows were asked for, {data_dir} has {len(messages)}")
    return Work(messages=messages, cutoff=cutoff)


def lora_method() -> dict[str, Any]:
    """The adapter as the section `method` of a recipe."""
    return {"type": "lora", "r": LORA["r"], "alpha": LORA["lora_alpha"], "target_modules": LORA["target_modules"]}


def load_pairs(num_pairs: int, data_dir: Path) -> list[dict[str, Conversation]]:
    """The first pairs of the file: `prompt`, often of several turns, `chosen` and `rejected`, as TRL has them.

    Raises:
        ValueError: As for `load_work`.
    """
    rows = json.loads((data_dir / "preference" / "dpo_en_demo.json").read_text(encoding="utf-8"))
    if len(rows) < num_pairs:
        raise ValueError(f"{num_pairs} pairs were asked for, {data_dir} has {len(rows)}")
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    return [
        {
            "prompt": [_turn(roles[turn["from"]], turn["value"]) for turn in row["conversations"]],
            **{which: [_turn("assistant", row[which]["value"])] for which in ("chosen", "rejected")},
        }
        for row in rows[:num_pairs]
    ]


def endless_model(model: Path, directory: Path) -> None:
    """A model that ends no answer: its template and settings end turns with a token that it does not write.

    Args:
        model: SmolLM2 as a Hugging Face directory.
        directory: Gets links to the weights, and changed copies of the rest.
    """
    unused = "<file_sep>"
    tokens = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    for file in model.iterdir():
        if file.suffix == ".safetensors":
            (directory / file.name).symlink_to(file)
            continue
        text = file.read_text(encoding="utf-8")
        if file.name in ("chat_template.jinja", "tokenizer_config.json"):
            text = text.replace("<|im_end|>", unused)
        elif file.name in ("config.json", "generation_config.json"):
            text = json.dumps(json.loads(text) | {"eos_token_id": ids[unused], "pad_token_id": ids[unused]})
        (directory / file.name).write_text(text, encoding="utf-8")


def _alpaca(num_rows: int, data_dir: Path) -> list[Conversation]:
    """The first rows of the file: every prompt is another, answers have 1 to 500 tokens."""
    rows = json.loads((data_dir / "instruct" / "alpaca_en_demo.json").read_text(encoding="utf-8"))
    conversations = []
    for row in rows[:num_rows]:
        question = "\n".join(text for text in (row["instruction"], row["input"]) if text)
        conversations.append([_turn("user", question), _turn("assistant", row["output"])])
    return conversations


def _banking(num_rows: int, data_dir: Path) -> list[Conversation]:
    """Evenly spaced rows of the sorted file, each a short question behind one long list of all its intents."""
    with (data_dir / "classify" / "banking77_train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    intents = ", ".join(sorted({row["category"] for row in rows}))
    instruction = (
        f"Classify the customer message into exactly one intent. Intents: {intents}. Answer with the intent only."
    )
    stride = max(1, len(rows) // num_rows)
    return [
        [_turn("system", instruction), _turn("user", row["text"]), _turn("assistant", row["category"])]
        for row in rows[::stride][:num_rows]
    ]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


WORKS: dict[str, tuple[Callable[[int, Path], list[Conversation]], int]] = {
    "alpaca": (_alpaca, 512),
    "banking": (_banking, 1024),
}
"""Each work's reader and its cut-off in tokens."""
