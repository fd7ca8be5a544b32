"""Pairs on disk, the same pairs as token ids made by hand, and what plain transformers gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer
from workbench import COLOURS, write_recipe

SYSTEM = "answer the question in few words"


def pairs(num: int, *, start: int = 0) -> list[dict[str, Any]]:
    """Rows of which every third has an earlier turn; answers of different lengths, and questions that begin alike."""
    rows = []
    for i in range(start, start + num):
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"what colour has thing {i}?"}]
        if i % 3 == 0:
            turns += [{"role": "assistant", "content": "blue"}, {"role": "user", "content": "are you sure?"}]
        better, worse = (" and ".join(COLOURS[(i + k) % 5] for k in range(n)) for n in (1 + i % 3, 1 + (i + 1) % 3))
        rows.append({"prompt": turns, "chosen": f"it is {better}", "rejected": f"{worse} it is"})
    return rows


def write_pairs(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pairs_recipe(directory: Path, model: Path, *, num_rows: int = 24, **sections: Any) -> Path:
    sections["data"] = {"train": "pairs.jsonl", **sections.get("data", {})}
    path = write_recipe(directory, model, **sections)
    write_pairs(directory / "pairs.jsonl", pairs(num_rows))
    return path


def token_ids(row: dict[str, Any], side: str, model: Path) -> tuple[list[int], int]:
    """The ids of a conversation up to its last end-of-turn token, and how many of them are the prompt."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in row["prompt"])
    given = tokenizer(f"{text}<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    return given + tokenizer(f"{row[side]}<|im_end|>", add_special_tokens=False)["input_ids"], len(given)


def log_probability(model: nn.Module, ids: list[int], given: int) -> Tensor:
    """Of all that follows the prompt, in float64."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].double()
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[given - 1 :, 0].sum()
