"""Inspection: numbers against hand-computed ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checking import pair, write_rows
from rich.console import Console
from transformers import AutoTokenizer
from workbench import write_recipe

from weitiao.quality.check import parts_of_files
from weitiao.quality.inspection import Inspection, inspect
from weitiao.study.check import Target, inspect_data
from weitiao.terminal.inspection import bar, print_inspection


def inspected(*files: Path) -> Inspection:
    return inspect(parts_of_files(files))


def test_counts_lengths_and_shares(tmp_path: Path) -> None:
    rows = [pair("q" * n, "a" * (2 * n)) for n in (1, 10, 20, 30, 40)]
    inspection = inspected(write_rows(tmp_path / "a.jsonl", [*rows, pair("x", "")]))
    (part,) = inspection.parts
    assert inspection.unit == "characters"
    assert (part.name, part.rows, part.unusable) == ("train", 5, 1)
    assert part.lengths is not None
    lengths = part.lengths
    assert (lengths.shortest, lengths.median, lengths.p90, lengths.longest) == (3, 60, 120, 120)
    assert lengths.mean == pytest.approx(303 / 5)
    assert part.supervised_share == pytest.approx(2 / 3)
    assert part.turns == {2: 5}
    assert [row.row for row in part.longest_rows] == [5, 4, 3, 2, 1]
    assert [row.row for row in part.shortest_rows] == [1, 2, 3, 4, 5]


def test_histograms_hold_every_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [*rng.integers(1, 300, 500).tolist(), 5_000]
    (part,) = inspected(write_rows(tmp_path / "a.jsonl", [pair("q" * size, "a") for size in sizes])).parts
    assert part.lengths is not None
    edges, counts = part.lengths.histogram.edges, part.lengths.histogram.counts
    assert sum(counts) == len(sizes)
    expected = [sum(low <= size + 1 < high for size in sizes) for low, high in pairwise(edges)]
    assert list(counts) == expected
    assert part.lengths.p99 == int(np.quantile(np.array(sizes) + 1, 0.99, method="inverted_cdf"))


def test_languages_and_labels(tmp_path: Path) -> None:
    english = "The library opens at nine in the morning, and it closes at six in the evening on every day but Sunday."
    rows = [pair(f"{english} {i}", "open") for i in range(30)]
    rows += [pair(f"图书馆几点开门？{i}", "closed") for i in range(20)]
    (part,) = inspected(write_rows(tmp_path / "a.jsonl", rows)).parts
    assert part.input_languages == {"en": 30, "zh": 20}
    assert part.labels == {"open": 30, "closed": 20}


def test_tokens_and_the_learned_share_are_those_of_the_tokenizer(tiny_llama_dir: Path, tmp_path: Path) -> None:
    texts = [("say a word", "one word"), ("a question", "a model learns"), ("three", "no")]
    rows = [{"instruction": question, "input": "", "output": answer} for question, answer in texts]
    recipe = write_recipe(tmp_path, tiny_llama_dir)
    write_rows(tmp_path / "rows.jsonl", rows)
    inspection = inspect_data(Target([str(recipe)]), console=Console(quiet=True))
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    lengths, learned = [], 0
    for question, answer in texts:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        lengths.append(len(tokenizer(text.removesuffix("\n"), add_special_tokens=False)["input_ids"]))
        learned += len(tokenizer(f"{answer}<|im_end|>", add_special_tokens=False)["input_ids"])
    part = next(part for part in inspection.parts if part.name == "train")
    assert inspection.unit == "tokens"
    assert part.lengths is not None
    assert sorted(row.length for row in part.longest_rows) == sorted(lengths)
    assert part.supervised_share == pytest.approx(learned / sum(lengths))


def test_it_is_printed_and_goes_to_json(tmp_path: Path) -> None:
    rows: list[Any] = [pair(f"question {i}", "yes" if i % 2 else "no") for i in range(40)]
    inspection = inspected(write_rows(tmp_path / "a.jsonl", rows))
    console = Console(record=True, width=100, file=(tmp_path / "out.txt").open("w"))
    print_inspection(inspection, console)
    text = console.export_text()
    for word in ("40", "characters", "2 labels", "Longest", "█", "a.jsonl"):
        assert word in text
    values = json.loads(json.dumps(asdict(inspection)))
    assert values["parts"][0]["labels"] == {"no": 20, "yes": 20}
    assert set(values) == {"unit", "parts", "left_out"}


def test_bars() -> None:
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 4) == "██"
    assert bar(0.53125, 4) == "██▏"
    assert bar(0.0001, 4) == "▏"
    assert bar(0, 4) == ""
