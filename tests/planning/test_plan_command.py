"""`weitiao plan` through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from workbench import weitiao, write_recipe

GIB = 2**30


@pytest.fixture(scope="module")
def mistral() -> dict[str, Any]:
    settings = "method.r=8", "train.token_budget=1024"
    done = weitiao("plan", "--model", "mistral-7b", "--method", "lora", "--device", "rtx-4090", *settings, "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_mistral_with_lora_is_what_courses_say(mistral: dict[str, Any]) -> None:
    found = mistral["forecast"]
    assert (found["num_learned"], found["num_parameters"]) == (20_971_520, 7_262_703_616)
    assert round(100 * found["num_learned"] / found["num_parameters"], 4) == 0.2888
    memory = {line["name"]: line["bytes"] for line in found["memory"]}
    assert memory["weights"] == 2 * 7_241_732_096 + 4 * 20_971_520  # PEFT keeps adapters in float32
    assert memory["optimiser"] == pytest.approx(8 * 20_971_520, rel=0.01)
    assert mistral["rule_of_thumb"]["full"] == 5 * mistral["rule_of_thumb"]["lora"]


def test_other_ways_are_in_the_table_and_one_is_advised(mistral: dict[str, Any]) -> None:
    own, again, *_ = mistral["options"]  # the recipe's way, and the same with layers computed again
    assert (own["checkpointing"], again["checkpointing"]) == (False, True)
    assert again["forecast"]["seconds"] > own["forecast"]["seconds"]
    assert again["budgets"][-1][0] == own["budgets"][-1][0]
    assert again["budgets"][-1][1] < 0.7 * own["budgets"][-1][1]
    rows = {(row["method"], row["precision"]): row for row in mistral["options"] if not row["checkpointing"]}
    assert {("lora", "bfloat16"), ("lora", "nf4"), ("full", "float32"), ("freeze", "float32")} <= rows.keys()
    full = rows["full", "float32"]["forecast"]
    assert full["num_learned"] == full["num_parameters"] == 7_241_732_096
    assert sum(line["bytes"] for line in full["memory"]) > 4 * 4 * full["num_parameters"]
    for row in rows.values():
        sizes = [size for _, size in row["budgets"]]
        assert sizes == sorted(sizes)
    assert not mistral["fits"] and "train.token_budget=" in mistral["advice"]["en"]
    assert mistral["advice"]["zh"].startswith("设 train.token_budget=")


def test_a_recipe_is_planned_with_its_own_data(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, train={"epochs": 2, "token_budget": 256})
    shown = weitiao("plan", recipe)
    assert shown.returncode == 0, shown.stderr
    assert "40 rows in 10 steps" in shown.stdout and "optimiser" in shown.stdout
    found = re.search(r"([\d,]+) tokens computed in a step, ([\d,]+) without sharing", shown.stdout)
    assert found is not None
    computed, apart = (int(number.replace(",", "")) for number in found.groups())
    assert computed < apart  # the rows share their instruction
    said = weitiao("--language", "zh", "plan", recipe).stdout
    assert "40 条样本，10 个优化步" in said and "优化器" in said and "放得下" in said
    assert not set(re.findall(r"\b(?:fits?|parameters|step|From|Memory|optimiser)\b", said))
    assert all(number in said for number in found.groups())
    assert re.search(r"Memory +[\d.]+ [MG]iB: fits", shown.stdout)
    assert "It fits as it is." in shown.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "mistral-7b", "--device", "rtx-4099"], "rtx-4090"),
        (["--model", "mistrall-7b"], "mistral-7b"),
        (["--model", "mistral-7b", "method.rr=8"], "r"),
        ([], "--model"),
    ],
)
def test_what_is_not_known_is_named(arguments: list[str], said: str) -> None:
    done = weitiao("plan", *arguments)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
