"""`weitiao methods`: cells are ordinary runs, the better ones go on, and the advice respects what is not certain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from workbench import weitiao, write_recipe

from weitiao.evaluation.statistics import proportion
from weitiao.recipe import load_recipe
from weitiao.study.tournament import entrants, run_tournament
from weitiao.study.train import train
from weitiao.terminal.verdict import print_tournament
from weitiao.verdict.tournament import Cell, advise

ENTRIES = [
    {"method": {"type": "lora", "r": 4}, "learning_rates": [1e-6, 0.02]},
    {"name": "top", "method": {"type": "freeze", "layers": 1}, "learning_rates": [0.005]},
    {"name": "too-many", "method": {"type": "freeze", "layers": 9}, "learning_rates": [0.005]},
]


def recipe(directory: Path, model: Path, **tournament: Any) -> Path:
    return write_recipe(
        directory, model, data={"validation": 0.2, "test": 0.2},
        evaluate={"generation": {"max_new_tokens": 4}, "metrics": ["chrf"]},
        retention={"parts": ["arithmetic"], "limit": 2},
        tournament={"methods": ENTRIES, "rows": 48, "sample": 5, "cut": 2, **tournament},
    )  # fmt: skip


def test_cells_are_ordinary_runs_and_are_made_once(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    done = weitiao("methods", path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    home = tmp_path / "run/methods"
    assert json.loads((home / "tournament.json").read_text()) == found
    cells = {cell["name"]: cell for cell in found["cells"]}
    assert {name: cell["rung"] for name, cell in cells.items()} == {
        "lora-0.02": 2, "top-0.005": 2, "lora-1e-06": 1, "too-many-0.005": 1,
    }  # fmt: skip
    assert "has 2 decoder layers, not 9" in cells["too-many-0.005"]["failed"]
    assert found["cells"][0]["name"] in found["equal"]
    best = cells["lora-0.02"]
    assert best["num_trainable"] == 8192  # 4 times the in- and outputs of 14 layers
    assert (best["score"]["n"], len(best["grades"])) == (5, 5)
    assert Path(best["path"], "retention-after.json").exists()

    settings = ["train.learning_rate=0.02", "train.max_steps=6", f"run_dir={tmp_path / 'alone'}"]
    alone = train(load_recipe(path, settings)).path  # without a tournament
    weights = "final/adapter_model.safetensors"
    assert (alone / weights).read_bytes() == Path(best["path"], weights).read_bytes()

    written = {file: file.stat().st_mtime_ns for file in home.rglob("*.safetensors")}
    console = Console(width=80, record=True, file=(tmp_path / "log").open("w"))
    print_tournament(run_tournament(load_recipe(path), console=console), console)
    assert {file: file.stat().st_mtime_ns for file in home.rglob("*.safetensors")} == written
    told = console.export_text()
    assert "too-many-0.005 could not be trained" in told
    assert f"Advice: {found['chosen']}" in told
    assert "weitiao run" in done.stderr


def test_wrong_input_is_named(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    for setting, what in (
        ("data.validation=null", "no validation rows"),
        ("tournament.methods=[{method: {type: lora}}, {method: {type: lora}}]", "same name"),
        ("tournament.methods=[{method: {type: lorra}}]", "there is no such method"),
        ("tournament.methods=[{method: {type: freeze, layers: 9}}]", "has 2 decoder layers"),
    ):
        done = weitiao("methods", path, setting)
        assert done.returncode == 2
        assert what in done.stderr


def test_a_method_that_the_recipe_rules_out_is_named_and_the_others_go_on(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir, methods=[{"method": {"type": name}} for name in ("full", "lora")], rows=8)
    settings = ["model.quantization=nf4", "tournament.rates=[1]", "retention={suite: none}"]
    found = run_tournament(load_recipe(path, settings), console=Console(quiet=True))
    assert [(one.name, one.rung) for one in found.cells] == [("lora-0.0002", 2), ("full-2e-05", 2)]
    assert "cannot learn" in str(found.cells[1].failed)
    assert found.chosen == "lora-0.0002"


def test_an_entry_has_its_own_rounding_and_optimiser(tiny_llama_dir: Path, tmp_path: Path) -> None:
    entries = [
        {"name": "qlora", "method": {"type": "lora"}, "quantization": "nf4"},
        {"name": "lomo", "method": {"type": "full"}, "optimizer": {"type": "lomo"}},
        {"method": {"type": "lora"}},
    ]
    path = recipe(tmp_path, tiny_llama_dir, methods=entries, rows=8)
    found = run_tournament(
        load_recipe(path, ["tournament.rates=[1]", "retention={suite: none}"]), console=Console(quiet=True)
    )
    made = {one.name.partition("-")[0]: load_recipe(one.path / "recipe.yaml") for one in found.cells if one.path}
    assert {name: (one.model.quantization, one.optimizer.type) for name, one in made.items()} == {
        "qlora": ("nf4", "adamw"), "lomo": (None, "lomo"), "lora": (None, "adamw"),
    }  # fmt: skip


def test_every_method_is_tried_around_its_usual_rate(tiny_llama_dir: Path, tmp_path: Path) -> None:
    names = [cell.name for cell in entrants(load_recipe(recipe(tmp_path, tiny_llama_dir), ["tournament.methods=[]"]))]
    assert names[:6] == ["lora-6e-05", "lora-0.0002", "lora-0.0006", "full-6e-06", "full-2e-05", "full-6e-05"]
    assert names[-1] == "ia3-0.003"
    assert len(names) == 18


def cell(name: str, right: str, seconds: float, lost: tuple[str, ...] = ()) -> Cell:
    grades = tuple(map(float, right * 10))
    score = proportion(int(sum(grades)), len(grades))
    return Cell(name, {}, 1e-4, rung=1, score=score, grades=grades, validation_loss=1.0, seconds=seconds, lost=lost)


def test_the_advice_names_no_winner_where_chance_explains_the_difference() -> None:
    good, close, quick, bad = (
        cell("good", "11111111", 90), cell("close", "11111111", 60, ("arithmetic",)),
        cell("quick", "11111111", 70), cell("bad", "11110000", 1),
    )  # fmt: skip
    assert advise([bad, good])[:2] == ("good", ("good",))
    chosen, equal, text = advise([bad, good, close, quick])
    assert (chosen, set(equal)) == ("quick", {"good", "close", "quick"})
    assert "No winner: 3 of 4" in text
    assert advise([good])[:2] == ("good", ("good",))
    none = cell("none", "0000", 5)
    assert "Raise tournament.rows" in advise([none, none])[2]


@pytest.mark.parametrize(("wins", "others", "worse"), [(5, 1, 0), (6, 1, 1), (6, 2, 0), (7, 2, 2)])
def test_a_difference_counts_when_the_exact_test_finds_it(wins: int, others: int, worse: int) -> None:
    """6 to 0 has p = 0.031: enough against one other, and not against the better of two."""
    first = cell("first", "1", 9)
    grades = (1.0,) * (10 - wins) + (0.0,) * wins
    cells = [replace(cell(f"other-{i}", "0", 1), grades=grades) for i in range(others)]
    assert len(advise([*cells, first])[1]) == 1 + others - worse
