"""What a run that goes on has to have in common with what it was, and how one goes further than planned."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import nn
from workbench import final_weights, steps_of, write_long_rows, write_recipe, write_rows

from weitiao.errors import RunError
from weitiao.recipe import Recipe, load_recipe
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import load_rendered
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.train import train
from weitiao.training.engine import load_moments, moments_of
from weitiao.training.schedule import learning_rate


def begun(directory: Path, model: Path, **sections: dict[str, Any]) -> Path:
    """The recipe of a run that stopped after 4 of 6 steps: its final weights and its last checkpoint are gone."""
    sections["train"] = {"max_steps": 6, "save_every": 2, "batch_size": 4, **sections.get("train", {})}
    recipe = write_recipe(directory, model, num_rows=24, **sections)
    run = train(load_recipe(recipe)).path
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints/step-00000006")
    return recipe


def test_what_training_does_not_read_may_change(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = begun(tmp_path, tiny_llama_dir, data={"validation": 0.2, "test": 0.1})
    whole = [line["loss"] for line in steps_of(tmp_path / "run")]
    shutil.copytree(tiny_llama_dir, tmp_path / "moved-model")
    (tmp_path / "rows.jsonl").rename(tmp_path / "renamed.jsonl")
    changed = [
        "evaluate.limit=3", "evaluate.metrics=[contains]", "verdict.target=0.5", "retention.suite=small",
        "run.on_advice=continue", "baseline.shots=[0]", "train.threads=2", "train.save_every=5",
        "train.validate_every=2", "train.token_budget=300", "train.share_prefixes=false", "method.fused=false",
        f"model.name={tmp_path / 'moved-model'}", "data.train=renamed.jsonl", "rendering.max_length=400",
    ]  # fmt: skip
    assert train(load_recipe(recipe, changed)).finished
    assert [line["loss"] for line in steps_of(tmp_path / "run")] == pytest.approx(whole, rel=1e-5)
    written = load_recipe(tmp_path / "run")
    assert (written.evaluate.limit, written.verdict.target, written.train.validate_every) == (3, 0.5, 2)


def test_a_recipe_that_a_person_wrote_is_not_overwritten(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, num_rows=8, data={"test": 0.5})
    text = recipe.read_text(encoding="utf-8")
    assert recipe.name == "recipe.yaml"
    for start in (train, run_pipeline):
        with pytest.raises(RunError, match="was not written by a run"):
            start(load_recipe(recipe, [f"run_dir={tmp_path}"]))
    assert recipe.read_text(encoding="utf-8") == text


def test_what_training_reads_may_not(tiny_llama_dir: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "held_out.jsonl", 4, start=90)
    recipe = begun(tmp_path, tiny_llama_dir, data={"validation": "held_out.jsonl"})
    for setting in (
        "method.r=8", "train.learning_rate=0.5", "train.batch_size=5", "train.seed=1", "train.weigh=rows",
        "train.schedule=linear", "train.validate_answers=2", "train.max_grad_norm=2", "model.dtype=bfloat16",
    ):  # fmt: skip
        with pytest.raises(RunError, match=f"another recipe: {setting.partition('=')[0]} differ"):
            train(load_recipe(recipe, [setting]))
    write_rows(tmp_path / "held_out.jsonl", 4, start=91)
    with pytest.raises(RunError, match="validation data is not what"):
        train(load_recipe(recipe))
    write_rows(tmp_path / "held_out.jsonl", 4, start=90)
    other = tmp_path / "other-model"
    shutil.copytree(tiny_llama_dir, other)
    weights = load_file(other / "model.safetensors")
    save_file(
        {name: 1.01 * value for name, value in weights.items()}, other / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(RunError, match=r"base model or method\.start is not what"):
        train(load_recipe(recipe, [f"model.name={other}"]))


def test_with_dropout_the_portions_may_not_change(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = begun(tmp_path, tiny_llama_dir, method={"dropout": 0.1})
    with pytest.raises(RunError, match=r"train\.token_budget differ"):
        train(load_recipe(recipe, ["train.token_budget=300"]))
    assert train(load_recipe(recipe)).finished  # `auto` is what was chosen at the start


def test_a_run_from_before_the_weighing_goes_on_as_it_was(tiny_llama_dir: Path, tmp_path: Path) -> None:
    write_long_rows(tmp_path / "general.jsonl", 9, words=12)
    replay = {"share": 0.3, "path": "general.jsonl"}
    recipe = begun(tmp_path, tiny_llama_dir, data={"replay": replay}, train={"weigh": "tokens"})
    run = RunDir(tmp_path / "run")
    without = json.loads(recipe.read_text())
    del without["train"]["weigh"]
    recipe.write_text(json.dumps(without))
    _make_old(run, load_recipe(recipe))
    assert train(load_recipe(recipe)).finished
    for line in steps_of(run.path)[4:]:  # every learned token weighs 1, those of the general rows too
        assert all(one["weight"] == pytest.approx(round(one["weight"]), abs=1e-6) for one in line["sources"].values())
    assert load_recipe(run.path).train.weigh == "tokens"


def _make_old(run: RunDir, recipe: Recipe) -> None:
    """Take away what earlier versions did not write, add what they did, and note the data with every weight 1."""
    values = YAML(typ="safe", pure=True).load(run.recipe_path.read_text())
    del values["train"]["weigh"]
    values["train"]["workers"] = 2
    run.recipe_path.write_text(json.dumps(values))
    directory = run.complete_checkpoints()[-1]
    state = json.loads((directory / "state.json").read_text())
    for name in ("validation_fingerprint", "model_fingerprint", "num_steps", "validation_due"):
        del state[name]
    plain = load_rendered(recipe, tell=lambda line: None)
    state["data_fingerprint"] = plain.fingerprint
    text = json.dumps(state)
    (directory / "state.json").write_text(text)
    listing = json.loads((directory / "COMPLETE").read_text())
    listing["state.json"] = {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    (directory / "COMPLETE").write_text(json.dumps(listing))


def test_a_run_without_a_checkpoint_begins_anew(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, num_rows=24, train={"max_steps": 2})
    run = train(load_recipe(recipe)).path
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints")
    assert train(load_recipe(recipe, ["train.learning_rate=0.02", "method.r=2"])).finished
    assert [line["step"] for line in steps_of(run)] == [1, 2]


def test_a_finished_run_can_be_trained_further(
    tiny_llama_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"max_steps": 4, "save_every": 2, "batch_size": 4}
    recipe = write_recipe(tmp_path, tiny_llama_dir, num_rows=24, data={"validation": 0.2}, train=settings)
    run = train(load_recipe(recipe)).path
    before = final_weights(run)
    with pytest.raises(RunError, match="holds a finished run"):
        train(load_recipe(run))
    with pytest.raises(RunError, match="has done 4 steps, and the recipe asks for 3"):
        train(load_recipe(run, ["train.max_steps=3"]))
    capsys.readouterr()
    longer = load_recipe(run, ["train.max_steps=8"])
    assert train(longer).steps == 8
    said = capsys.readouterr().err
    assert "8 steps instead of 4: the cosine schedule falls over all of them from now on" in said
    assert [line["step"] for line in steps_of(run)] == list(range(1, 9))
    for line in steps_of(run):
        assert line["learning_rate"] == learning_rate(longer.train, line["step"] - 1, 4 if line["step"] <= 4 else 8)
    kept = run / "final-step-00000004" / "adapter_model.safetensors"
    assert kept.read_bytes() == before != final_weights(run)
    # Interrupted on the way, it ends with the same bytes; and the recipe that lies in the run says how far it goes.
    after = final_weights(run)
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints/step-00000008")
    assert train(load_recipe(run)).steps == 8
    assert final_weights(run) == after


def test_a_value_lies_where_the_optimiser_wants_it() -> None:
    """A fused or capturable AdamW keeps its step on the device of the parameter; `meta` stands for a GPU here."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    moments = moments_of(model, optimizer)
    assert sorted(moments) == [
        f"{key}/{name}" for key in ("exp_avg", "exp_avg_sq", "step") for name in ("bias", "weight")
    ]
    elsewhere = nn.Linear(3, 2, device="meta")
    there = torch.optim.AdamW(elsewhere.parameters(), capturable=True)
    load_moments(elsewhere, there, moments)
    for parameter in elsewhere.parameters():
        assert {value.device.type for value in there.state[parameter].values()} == {"meta"}
    here = torch.optim.AdamW(model.parameters(), fused=True)
    load_moments(model, here, moments)
    for parameter in model.parameters():
        assert here.state[parameter].keys() == optimizer.state[parameter].keys()
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(here.state[parameter][key], value)
