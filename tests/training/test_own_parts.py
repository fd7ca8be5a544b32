"""A method and an objective that a user wrote beside the recipe go through train, kill, resume and eval as ours do."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, softplus
from transformers import AutoModelForCausalLM
from workbench import signal_after, steps_of, weitiao, write_recipe, write_rows

from weitiao.errors import RecipeError
from weitiao.recipe import load_recipe
from weitiao.study.dataset import load_rendered

METHOD = '''
from weitiao.config import Config
from weitiao.methods.method import Selected


class Norms(Selected):
    """Only the gains of the norms learn, those of the last layers faster."""

    class Config(Config):
        factor: float = 1.0

    def learns(self, name):
        return "norm" in name

    def groups(self, model):
        learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
        late = [p for name, p in learned.items() if ".1." in name]
        early = [p for name, p in learned.items() if ".1." not in name]
        return [{"params": early}, {"params": late, "lr_factor": self.config.factor}]
'''

OBJECTIVE = '''
import torch
from torch.nn.functional import softplus

from weitiao.models.losses import token_losses
from weitiao.objectives.objective import Losses, Objective
from weitiao.rendering.items import Item


class Shorter(Objective):
    """Of two rows, the one with the shorter answer shall be the likelier; a head of one number scales it."""

    def __init__(self, model, config=None):
        super().__init__(model)
        self.scale = torch.nn.Parameter(torch.tensor(0.5))

    @classmethod
    def items(cls, sequences):
        pairs = [sorted(sequences[i : i + 2], key=lambda one: one.num_learned) for i in range(0, len(sequences) - 1, 2)]
        return tuple(Item(a.row_id, (a, b)) for a, b in pairs)

    @staticmethod
    def weights(forest):
        return torch.tensor([item.weight for item in forest.items], dtype=torch.float64).numpy()

    def forward(self, forest):
        losses, _ = token_losses(self.model, forest)
        of_target = torch.from_numpy(forest.targets.sequences)
        means = torch.stack([losses[of_target == i].mean() for i in range(len(forest.sequence_items))])
        learned = torch.tensor([(of_target == i).sum() for i in range(len(means))])
        margins = []
        for index in range(len(forest.items)):
            one, other = (forest.sequence_items == index).nonzero()[0]
            short, long = (one, other) if learned[one] <= learned[other] else (other, one)
            margins.append(means[long] - means[short])
        margin = torch.stack(margins)
        values = softplus(-self.scale * margin) * torch.tensor([item.weight for item in forest.items])
        return Losses(values.sum(), values.detach().double(), {"right": (margin > 0).float().sum()})
'''


@pytest.fixture
def recipe(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    path = write_recipe(
        directory,
        tiny_llama_dir,
        num_rows=24,
        objective={"type": "my.py:Shorter"},
        data={"test": "test.jsonl", "validation": "rows.jsonl"},
        train={"max_steps": 12, "batch_size": 4, "save_every": 3, "validate_every": 6, "token_budget": 400},
        evaluate={"generation": {"max_new_tokens": 2}},
    )
    (directory / "my.py").write_text(METHOD + OBJECTIVE)
    write_rows(directory / "test.jsonl", 2, start=90)
    return with_method(path, {"type": "my.py:Norms", "factor": 3.0})


def with_method(recipe: Path, method: dict[str, object]) -> Path:
    recipe.write_text(json.dumps({**json.loads(recipe.read_text()), "method": method}, indent=1))
    return recipe


def test_own_parts_are_trained_killed_resumed_and_evaluated(recipe: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    whole = weitiao("train", recipe)
    assert whole.returncode == 0, whole.stderr
    run = recipe.parent / "run"
    expected, after = load_file(run / "final/model.safetensors"), steps_of(run)
    shutil.move(run, tmp_path / "whole")
    killed = weitiao("train", recipe, meanwhile=signal_after(run, 5, signal.SIGKILL))
    assert killed.returncode == -signal.SIGKILL
    assert weitiao("train", run).returncode == 0
    found = load_file(run / "final/model.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    base = load_file(tiny_llama_dir / "model.safetensors")
    changed = {name for name in base if not torch.equal(base[name], found[name])}
    assert changed == {name for name in base if "norm" in name}
    assert all(0 <= step["right"] <= 1 for step in after)
    scored = weitiao("eval", run, "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["exact_match"]["n"] == 2
    assert weitiao("compare", f"base:{run}", run, "--json").returncode == 0
    assert json.loads((run / "final/weitiao_base.json").read_text())["method"].endswith("my.py:Norms")
    plain = AutoModelForCausalLM.from_pretrained(run / "final")  # what any other program loads
    assert torch.equal(plain.model.norm.weight, found["model.norm.weight"])


def test_the_first_loss_is_that_of_a_plain_loop(recipe: Path, tiny_llama_dir: Path) -> None:
    assert weitiao("train", recipe, "train.max_steps=1", "train.batch_size=12").returncode == 0
    settings = load_recipe(recipe)
    data = load_rendered(settings, tell=lambda line: None)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager")
    losses = []
    for item in data.train:
        means = []
        for sequence in item.sequences:
            ids, learned = torch.tensor(sequence.token_ids.tolist()), torch.from_numpy(sequence.weights) > 0
            with torch.no_grad():
                every = cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="none")
            means.append(every[learned[1:]].mean())
        losses.append(softplus(-0.5 * (means[1] - means[0])))
    assert len(losses) == 12
    (step,) = steps_of(recipe.parent / "run")
    assert step["loss"] == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ({"type": "my.py:Norms", "speed": 2}, r"`speed`: Extra inputs are not permitted"),
        ({"type": "my.py:Shorter"}, r"my\.py:Shorter is not a subclass of weitiao's Method"),
        ({"type": "my.py:Other"}, r"my\.py has no `Other`"),
        ({"type": "none.py:Norms"}, r"There is no file .*none\.py"),
    ],
)
def test_what_is_wrong_with_a_part_of_ones_own_is_said(recipe: Path, method: dict[str, object], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        load_recipe(with_method(recipe, method)).method.build()


def test_a_type_that_there_is_not_is_named_with_its_line(recipe: Path) -> None:
    with_method(recipe, {"type": "loro"})
    with pytest.raises(
        RecipeError, match=r"recipe\.yaml:\d+: `method`: there is no such method; there are lora, full,"
    ):
        load_recipe(recipe)
