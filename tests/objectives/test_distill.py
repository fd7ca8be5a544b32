"""Distillation: losses and gradients against whole distributions in double precision, and through the real training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from workbench import require_same_after_resume, steps_of, weitiao, write_recipe

from weitiao.errors import RunError, WeitiaoError
from weitiao.forest.layout import Forest, build_forest
from weitiao.models import head as head_module
from weitiao.models.attention import FOREST
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model
from weitiao.models.parts import vocabulary_size
from weitiao.objectives.distill import ROW, Distill, Kept, Live
from weitiao.objectives.distill_config import DistillConfig
from weitiao.planning.devices import find_device
from weitiao.recipe import load_recipe
from weitiao.rendering.items import Item, TokenSequence
from weitiao.report.render import render_report
from weitiao.study.plan import forecast_here, way_of
from weitiao.study.prepared import prepare
from weitiao.study.train import train

ROWS = [[5, 6, 7, 8, 9], [5, 6, 7, 3, 2, 8], [5, 6, 7, 8, 4, 4, 1], [11, 12, 13]]
LEARNED = [[3, 4], [3, 4, 5], [2, 3, 5, 6], [1, 2]]
WEIGHTS = [1.0, 0.5, 2.0, 1.5]
WAYS: list[dict[str, Any]] = [
    {},
    {"beta": 1.0},
    {"beta": 0.3, "temperature": 2.0},
    {"sft_weight": 0.7, "temperature": 1.5},
    {"top_k": 3, "beta": 0.6, "sft_weight": 0.2, "temperature": 0.8},
    {"top_k": 400, "beta": 1.0},
]


@pytest.fixture(scope="module")
def teacher_dir(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model with the tokenizer of the tiny one, whose embedding is padded."""
    directory = shutil.copytree(tiny_llama_dir, tmp_path_factory.mktemp("teacher") / "model")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        model.resize_token_embeddings(model.config.vocab_size + 7, mean_resizing=False)
        model.save_pretrained(directory)
    return directory


def opened(path: Path) -> PreTrainedModel:
    return load_model(ModelConfig(name=str(path), dtype="float32"), attention=FOREST)


def laid_out(share: bool = True) -> Forest:
    items = []
    for place, (ids, learned, weight) in enumerate(zip(ROWS, LEARNED, WEIGHTS, strict=True)):
        weights = [weight if index in learned else 0.0 for index in range(len(ids))]
        sequence = TokenSequence.of(f"row {place}", ids, weights)
        first = sum(map(len, LEARNED[:place]))
        column = np.zeros(len(ids), np.float32)
        column[learned] = np.arange(first, first + len(learned))
        items.append(Item(f"row {place}", (TokenSequence("", *_of(sequence), columns={ROW: column}),)))
    return build_forest(tuple(items), share_prefixes=share)


def _of(sequence: TokenSequence) -> tuple[Any, Any]:
    return sequence.token_ids, sequence.weights


def brute(student: nn.Module, teacher: nn.Module, config: DistillConfig) -> tuple[Tensor, Tensor]:
    """The sum of the losses, and of the divergences, target by target and token by token of the vocabulary."""
    losses, divergences = [], []
    for ids, learned, weight in zip(ROWS, LEARNED, WEIGHTS, strict=True):
        own = student(input_ids=torch.tensor([ids])).logits[0]
        with torch.no_grad():
            theirs = teacher(input_ids=torch.tensor([ids])).logits[0]
        for place in learned:
            given = theirs[place - 1, : own.shape[1]]  # the rest is padding
            p, q = ((one / config.temperature).softmax(0) for one in (given, own[place - 1]))
            if config.top_k:
                best = p.argsort(descending=True)[: min(config.top_k, len(p) - 1)]
                p, q = (torch.cat([one[best], (1 - one[best].sum())[None]]) for one in (p, q))
            beta = 0.0 if config.beta is None else config.beta
            mixed = beta * p + (1 - beta) * q
            apart = torch.zeros((), dtype=torch.float64)
            for a, b, m in zip(p, q, mixed, strict=True):
                if beta == 0:
                    apart = apart + a * (a / b).log()
                elif beta == 1:
                    apart = apart + b * (b / a).log()
                else:
                    apart = apart + beta * a * (a / m).log() + (1 - beta) * b * (b / m).log()
            surprise = -own[place - 1].log_softmax(0)[ids[place]]
            losses.append(weight * (config.temperature**2 * apart + config.sft_weight * surprise))
            divergences.append(weight * apart)
    return torch.stack(losses).sum(), torch.stack(divergences).sum()


def given_to(objective: Distill, teacher: nn.Module, config: DistillConfig, forest: Forest) -> None:
    objective.teacher = Live(teacher)
    if config.top_k:
        kept = objective.teacher.likeliest(forest, config.top_k, config.temperature, vocabulary_size(objective.model))
        places = torch.from_numpy(forest.targets.columns[ROW]).long().argsort()
        objective.teacher = Kept(kept["ids"][places].int(), kept["logprobs"][places])


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_values_and_gradients_are_those_of_whole_distributions(
    way: dict[str, Any], chunked: bool, tiny_llama_dir: Path, teacher_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows that each run alone in plain transformers; the forest shares what they begin with."""
    if chunked:
        monkeypatch.setattr(head_module, "CHUNK_LOGITS", 400 * 4 * 3)
    config = DistillConfig.model_validate({"type": "distill", "teacher": str(teacher_dir), **way})
    objective = config.build(opened(tiny_llama_dir))
    assert isinstance(objective, Distill)
    objective.model.get_input_embeddings().requires_grad_(learns := not chunked)  # and with it the head, which is tied
    forest = laid_out()
    given_to(objective, opened(teacher_dir), config, forest)
    losses = objective(forest)
    losses.total.backward()
    student, teacher = (
        AutoModelForCausalLM.from_pretrained(one, dtype=torch.float64, attn_implementation="eager")
        for one in (tiny_llama_dir, teacher_dir)
    )
    expected, apart = brute(student, teacher, config)
    expected.backward()
    assert losses.total.item() == pytest.approx(expected.item(), rel=2e-5)
    assert float(losses.per_item.sum()) == pytest.approx(expected.item(), rel=2e-5)
    assert float(losses.metrics["divergence"]) == pytest.approx(apart.item(), rel=2e-5)
    found = {
        name.removeprefix(
            "model.",
        ): one.grad
        for name, one in objective.named_parameters()
    }
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None
        if "embed_tokens" in name and not learns:
            continue
        torch.testing.assert_close(found[name].double(), parameter.grad, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("way", WAYS[:3] + WAYS[4:5])
def test_a_model_has_nothing_to_learn_from_itself(way: dict[str, Any], tiny_llama_dir: Path) -> None:
    config = DistillConfig.model_validate({"type": "distill", "teacher": "itself", **way, "sft_weight": 0.0})
    objective = config.build(opened(tiny_llama_dir))
    assert isinstance(objective, Distill)
    given_to(objective, opened(tiny_llama_dir), config, forest := laid_out())
    losses = objective(forest)
    losses.total.backward()
    assert abs(losses.total.item()) < 1e-5
    assert max(float(one.grad.abs().max()) for one in objective.parameters() if one.grad is not None) < 1e-5


def recipe_of(directory: Path, model: Path, teacher: Path, objective: dict[str, Any], **sections: Any) -> Path:
    settings = {
        "max_steps": 6,
        "save_every": 3,
        "validate_every": 3,
        "learning_rate": 0.005,
        **sections.pop("train", {}),
    }
    return write_recipe(
        directory,
        model,
        objective={"type": "distill", "teacher": {"name": str(teacher)}, **objective},
        data={"train": "rows.jsonl", "validation": 0.2},
        train=settings,
        **sections,
    )


def validations(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["validation_divergence"] for line in lines if "validation_loss" in line]


def test_a_run_comes_nearer_to_its_teacher_and_goes_on_to_the_same_bytes(
    tiny_llama_dir: Path, teacher_dir: Path, tmp_path: Path
) -> None:
    """Whole distributions by a teacher in memory: a run with LoRA on another model, which is named by its directory."""
    tuned = write_recipe(tmp_path / "tuned", teacher_dir, train={"max_steps": 2})
    teacher = train(load_recipe(tuned)).path
    recipe = recipe_of(tmp_path, tiny_llama_dir, teacher, {"sft_weight": 0.1}, method={"r": 16})
    lines: list[str] = []
    run = train(load_recipe(recipe), tell=lines.append).path
    assert any(line.startswith(f"Teacher {teacher}: ") for line in lines)
    first, last = steps_of(run)[0], steps_of(run)[-1]
    assert first["loss"] == pytest.approx(first["divergence"] + 0.1 * first["cross_entropy"])
    assert last["divergence"] < 0.8 * first["divergence"]
    assert validations(run)[1] < validations(run)[0]
    require_same_after_resume(run, 6)
    moved = teacher.rename(tmp_path / "elsewhere")
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints" / "step-00000006")
    train(load_recipe(run, [f"objective.teacher={moved}"]))  # compared by its weights
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints" / "step-00000006")
    with pytest.raises(RunError, match=r"teacher, base model or method\.start is not what"):
        train(load_recipe(run, [f"objective.teacher={teacher_dir}"]))


def test_what_is_kept_of_a_teacher_needs_it_no_more(tiny_llama_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """Its file in another run gives the same weights, without the teacher; so does going on."""
    kept = recipe_of(tmp_path / "kept", tiny_llama_dir, teacher_dir, {"top_k": 8, "temperature": 1.5})
    run = train(load_recipe(kept)).path
    file = run / "teacher.safetensors"
    tensors = load_file(file)
    assert tensors["ids"].shape[1] + 1 == tensors["logprobs"].shape[1] == 9
    torch.testing.assert_close(tensors["logprobs"].exp().sum(1), torch.ones(len(tensors["ids"])))
    assert validations(run)[1] < validations(run)[0]
    given = recipe_of(tmp_path / "given", tiny_llama_dir, file, {"temperature": 1.5})
    other = train(load_recipe(given)).path
    weights = [load_file(one / "final" / "adapter_model.safetensors") for one in (run, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    several = recipe_of(tmp_path / "several", tiny_llama_dir, teacher_dir, {"top_k": 8, "temperature": 1.5})
    done = weitiao("train", several, ranks=2)
    assert done.returncode == 0, done.stderr
    shared = load_file(tmp_path / "several" / "run" / "final" / "adapter_model.safetensors")
    for name, value in weights[0].items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-5)
    before = file.stat().st_mtime_ns
    require_same_after_resume(run, 6)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(RunError, match="temperature differ"):
        train(load_recipe(given, ["objective.temperature=1", f"run_dir={tmp_path / 'third'}"]))
    with pytest.raises(RunError, match="rows differ"):
        train(load_recipe(given, ["data.validation=0.3", f"run_dir={tmp_path / 'fourth'}"]))


def test_its_own_answers_bring_a_model_to_its_teacher(tiny_llama_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """Answers of one token to four prompts: whole distributions are learned, and the divergence vanishes."""
    rollouts = {"samples": 4, "repeats": 2, "generation": {"max_new_tokens": 1}}
    recipe = recipe_of(
        tmp_path, tiny_llama_dir, teacher_dir, {"on_policy": True}, rollouts=rollouts,
        train={"max_steps": 80, "batch_size": 4, "validate_every": 20, "save_every": 61, "learning_rate": 0.004},
        num_rows=6,
    )  # fmt: skip
    run = train(load_recipe(recipe, ["method={type: full}"])).path
    steps = steps_of(run)
    assert steps[0]["loss"] == pytest.approx(steps[0]["divergence"])
    assert "reward" not in steps[0]
    assert steps[-1]["divergence"] < 0.02 * steps[0]["divergence"], (steps[0], steps[-1])
    assert validations(run)[-1] < validations(run)[0]
    assert "Divergence from the teacher" in render_report(run)
    require_same_after_resume(run, 80)  # from a checkpoint in the middle of the steps from a rollout


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"teacher": "other"}, r"has another tokenizer: token 5 is .* there, .* in the model"),
        ({"teacher": "short"}, r"longest row takes \d+ tokens, and the teacher .* has 16 positions"),
        ({"teacher": "none.safetensors"}, r"there is no file"),
        ({"teacher": "other", "on_policy": True, "top_k": 4}, r"cannot be kept"),
        ({"teacher": "other", "on_policy": True, "sft_weight": 1.0}, r"learns from the model's"),
        ({"teacher": "a.safetensors", "top_k": 4}, r"leave it out"),
    ],
)
def test_what_cannot_be_a_teacher_is_said(
    objective: dict[str, Any], message: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    for name in ("other", "short"):
        shutil.copytree(tiny_llama_dir, tmp_path / name)
    tokenizer = json.loads((tmp_path / "other" / "tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    first, second = (next(word for word, index in words.items() if index == wanted) for wanted in (5, 9))
    words[first], words[second] = 9, 5
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = json.loads((tmp_path / "short" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "short" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16}))
    recipe = recipe_of(tmp_path, tiny_llama_dir, tmp_path, objective)
    with pytest.raises(WeitiaoError, match=message) as caught:
        train(load_recipe(recipe))
    assert caught.value.remedy


def test_a_plan_counts_a_teacher_that_is_in_memory(tiny_llama_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, tiny_llama_dir, teacher_dir, {}, num_rows=3)
    prepared = prepare(load_recipe(recipe), torch.device("cpu"), lambda line: None)
    size, weights = way_of(prepared.recipe, "cpu").teacher
    assert (size, weights) == (sum(one.numel() for one in opened(teacher_dir).parameters()), 4 * size)
    assert way_of(load_recipe(recipe, ["objective.top_k=4"]), "cpu").teacher == (0, 0.0)
    found = forecast_here(prepared, find_device("h100"), calibration_seconds=0)
    assert {line.name: line.bytes for line in found.memory}["teacher"] == way_of(prepared.recipe, "cuda").teacher[1]
