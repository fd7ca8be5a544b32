"""Reward models of single steps: against plain transformers, gone on with, scored, and rows that cannot be used."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import write_pairs
from rich.console import Console
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from workbench import evaluate_target, require_same_after_resume, steps_of, write_recipe

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.conversion.records import Input
from weitiao.data.example import STEPS
from weitiao.data.load import load_data
from weitiao.data.writing.convert import convert_file
from weitiao.errors import DataError, RecipeError, RenderingError
from weitiao.forest.layout import build_forest
from weitiao.methods.scorer import open_scorer
from weitiao.models.attention import FOREST
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model
from weitiao.recipe import load_recipe
from weitiao.report.render import render_report
from weitiao.study.check import check_recipe
from weitiao.study.dataset import load_rendered
from weitiao.study.score import score_rows
from weitiao.study.train import train
from weitiao.terminal.rewards import print_report

QUIET = Console(quiet=True)
WORDS = ("first we add 2", "then 3 more", "naïve 🙂", "it is 5")
TRAIN = {"max_steps": 4, "batch_size": 6, "seed": 3, "learning_rate": 1e-2, "warmup": 0, "save_every": 2}


def step_rows(num: int) -> list[dict[str, Any]]:
    """Answers that begin alike; some prompts are turns with an answer among them, some labels are numbers."""
    rows: list[dict[str, Any]] = []
    for i in range(num):
        steps = [WORDS[(i // 6 + k) % 4] + (f" ({i})" if k else "") for k in range(1 + i % 4)]
        labels = [(i + 3 * k) % 4 > 0 for k in range(len(steps))]
        turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
        question = {"role": "user", "content": f"what is 2 + 3, {i // 4}?"}
        prompt = [*turns, question] if i % 3 == 0 else question["content"]
        rows.append({"prompt": prompt, "completions": steps, "labels": [0.25] * len(steps) if i % 5 == 0 else labels})
    return rows


def step_recipe(directory: Path, model: Path, rows: list[dict[str, Any]], **sections: Any) -> Path:
    sections = {"method": {"type": "full"}, "data": {"train": "steps.jsonl"}, "train": TRAIN, **sections}
    sections["objective"] = {"type": "reward", "loss": "step", **sections.get("objective", {})}
    path = write_recipe(directory, model, **sections)
    if sections["method"].get("type"):
        path.write_text(path.read_text().replace('"r": 4,', ""))
    write_pairs(directory / "steps.jsonl", rows)
    return path


def read_at(row: dict[str, Any], model: Path, separator: str = "\n") -> tuple[list[int], list[int]]:
    """The ids of a row, and the places of the tokens with which its steps are whole, the last one's with its turn."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = row["prompt"]
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    given = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)
    given += "<|im_start|>assistant\n"
    ids = tokenizer(f"{given}{separator.join(row['completions'])}<|im_end|>", add_special_tokens=False)["input_ids"]
    ends = []
    for num in range(1, len(row["completions"])):
        text = (given + separator.join(row["completions"][:num])).rstrip()
        ends.append(next(n for n in range(len(ids)) if tokenizer.decode(ids[: n + 1]).startswith(text)))
    return ids, [*ends, len(ids) - 1]


def plain_losses(
    model: Any, head: torch.Tensor, rows: list[dict[str, Any]], directory: Path
) -> tuple[torch.Tensor, float]:
    """The mean over the steps of each row, by plain transformers' states; and the sum of the shares that are right."""
    losses, right = [], 0.0
    for row in rows:
        ids, ends = read_at(row, directory)
        scores = model(input_ids=torch.tensor([ids])).last_hidden_state[0, ends].float() @ head[0]
        losses.append(binary_cross_entropy_with_logits(scores, torch.tensor(row["labels"], dtype=torch.float32)))
        agree = [(score >= 0) == (label >= 0.5) for score, label in zip(scores.tolist(), row["labels"], strict=True)]
        right += sum(agree) / len(agree)
    return torch.stack(losses), right


def test_losses_and_gradients_are_those_of_plain_transformers(tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = step_rows(12)
    recipe = load_recipe(step_recipe(tmp_path, tiny_llama_dir, rows))
    items = load_rendered(recipe, tell=lambda line: None).train
    found = {}
    for share in (True, False):
        model = load_model(ModelConfig(name=str(tiny_llama_dir), dtype="float32"), attention=FOREST)
        objective = recipe.objective.build(model)
        forests = [build_forest(items)] if share else [build_forest([one], share_prefixes=False) for one in items]
        losses = [objective(forest) for forest in forests]
        sum(one.total for one in losses).backward()  # type: ignore[union-attr]
        gradients = {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}
        metrics = {name: sum(float(one.metrics[name]) for one in losses) for name in losses[0].metrics}
        found[share] = torch.cat([one.per_item for one in losses]).float(), gradients, metrics
    assert build_forest(items).num_source_tokens > len(build_forest(items).layout)
    plain = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32)
    head = torch.nn.Parameter(objective.score.weight.detach().clone())
    expected, right = plain_losses(plain.model, head, rows, tiny_llama_dir)
    expected.sum().backward()
    wanted = {f"model.{name}": p.grad for name, p in plain.named_parameters() if p.grad is not None}
    for losses_I, gradients, _ in found.values():
        torch.testing.assert_close(losses_I, expected.detach(), atol=1e-5, rtol=1e-5)
        assert gradients.keys() == {*wanted, "score.weight"}
        for name, gradient in {**wanted, "score.weight": head.grad}.items():
            torch.testing.assert_close(gradients[name], gradient, atol=2e-5, rtol=1e-4)
    assert found[True][2] == pytest.approx(found[False][2])
    assert found[True][2]["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("method", [{"type": "full"}, {"r": 4}], ids=["full", "lora"])
def test_a_run_goes_on_to_the_same_weights_and_scores_as_plain_transformers(
    method: dict[str, Any], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    rows = step_rows(24)
    held = write_pairs(tmp_path / "held.jsonl", step_rows(32)[16:])
    recipe = step_recipe(
        tmp_path, tiny_llama_dir, rows, method=method, data={"train": "steps.jsonl", "validation": 0.2}
    )
    run = train(load_recipe(recipe), console=QUIET).path
    assert all(0 <= step[name] <= 1 for step in steps_of(run) for name in ("accuracy", "first_wrong"))
    assert "validation_first_wrong" in (run / "metrics.jsonl").read_text()
    require_same_after_resume(run, 4)
    scorer = open_scorer(run)
    report, found = score_rows(scorer, str(held), on_bad_rows="error", tell=lambda line: None)
    if method.get("type") == "full":
        plain = AutoModelForSequenceClassification.from_pretrained(run / "final")
    agree, first, total = 0, 0, 0
    for row, one in zip(step_rows(32)[16:], found, strict=True):
        ids, ends = read_at(row, tiny_llama_dir)
        scores = one["step_scores"]
        if method.get("type") == "full":
            with torch.no_grad():
                wanted = plain.score(plain.model(input_ids=torch.tensor([ids])).last_hidden_state[0, ends])[:, 0]
                assert float(plain(input_ids=torch.tensor([ids])).logits) == pytest.approx(one["score"], abs=2e-4)
            assert scores == pytest.approx(wanted.tolist(), abs=2e-4)
        chances = [1 / (1 + math.exp(-score)) for score in scores]
        assert one["score"] == scores[-1]
        assert (one["minimum"], one["product"]) == pytest.approx((min(chances), math.prod(chances)))
        held_wrong = [place for place, score in enumerate(scores) if score < 0]
        wrong = [place for place, label in enumerate(row["labels"]) if label < 0.5]
        agree += sum((score >= 0) == (label >= 0.5) for score, label in zip(scores, row["labels"], strict=True))
        first += held_wrong[:1] == wrong[:1]
        total += len(scores)
    assert report.steps is not None
    assert report.steps.accuracy.value == pytest.approx(agree / total)
    assert report.steps.first_wrong.value == pytest.approx(first / 16)
    assert report.steps.accuracy.n == 16  # rows are drawn for the interval, and not steps
    console = Console(width=80, record=True, quiet=False)
    print_report(report, console)
    assert f"judged rightly {report.steps.accuracy}" in " ".join(console.export_text().split())
    scored = evaluate_target(run, [f"data.test={held}"], output=run, console=QUIET).scores
    assert scored.primary == "step_accuracy"
    assert scored.metrics["step_accuracy"] == report.steps.accuracy
    assert "Accuracy of steps" in render_report(run)


def test_tokens_that_reach_over_the_end_of_a_step_and_steps_that_nobody_judged(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    merged = {
        "prompt": "how?",
        "completions": ["in one wo", "rd and ", "a few 🙂", " examples"],
        "labels": [1, 1, 0, 0],
    }
    rows = [merged, *step_rows(7)]
    recipe = step_recipe(tmp_path, tiny_llama_dir, rows, objective={"separator": ""})
    run = train(load_recipe(recipe, ["train.max_steps=1"]), console=QUIET).path
    bare = [{name: row[name] for name in ("prompt", "completions")} for row in rows]
    scorer = open_scorer(run)
    _, judged = score_rows(scorer, str(write_pairs(tmp_path / "a.jsonl", rows)), **QUIETLY)
    report, found = score_rows(scorer, str(write_pairs(tmp_path / "b.jsonl", bare)), **QUIETLY)
    assert found == [{**row, "row_id": row["row_id"].replace("a.jsonl", "b.jsonl")} for row in judged]
    assert report.steps is None
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    ids, ends = read_at(merged, tiny_llama_dir, "")
    assert tokenizer.decode(ids[ends[0]]) == " word"
    plain = AutoModelForSequenceClassification.from_pretrained(run / "final")
    with torch.no_grad():
        wanted = plain.score(plain.model(input_ids=torch.tensor([ids])).last_hidden_state[0, ends])[:, 0]
    assert found[0]["step_scores"] == pytest.approx(wanted.tolist(), abs=2e-4)


QUIETLY: dict[str, Any] = {"on_bad_rows": "error", "tell": lambda line: None}
GOOD = {"prompt": "2 + 3?", "completions": ["2 + 3 = 5", "so 5"], "labels": [True, 1]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": [True]}, r"steps.jsonl.*row 2.*labels.*has 1 for the 2 steps in `completions`"),
        ({"labels": [1, 0, 1]}, "has 3 for the 2 steps"),
        ({"labels": ["yes", True]}, r"labels\[0\].*must be true, false or a number from 0 to 1, is text"),
        ({"labels": [1, -1]}, r"labels\[1\].*must be true, false or a number from 0 to 1, is -1"),
        ({"labels": None}, "labels.*is null"),
        ({"completions": ["a", " "]}, r"completions\[1\].*the step is empty"),
        ({"completions": ["a", 3]}, r"completions\[1\].*must be text, is a number"),
        ({"completions": []}, "completions.*is empty"),
        ({"prompt": ""}, "prompt.*is empty"),
    ],
)
def test_bad_rows_are_named_with_their_field(
    change: dict[str, Any], said: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    recipe = step_recipe(tmp_path, tiny_llama_dir, [GOOD, {**GOOD, **change}])
    with pytest.raises(DataError, match=said):
        load_rendered(load_recipe(recipe), tell=lambda line: None)


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({}, {**GOOD, "prompt": [{"role": "user", "content": "2 + 3?"}], "rating": 7}),
        ({}, {**GOOD, "completions": json.dumps(GOOD["completions"]), "labels": "[true, 1.0]"}),
        ({"prompt": "q", "completions": "steps", "labels": "ok.all"},
         {"q": "2 + 3?", "steps": GOOD["completions"], "ok": {"all": [1, 1]}}),
    ],
    ids=["turns", "JSON text", "other names"],
)  # fmt: skip
def test_every_form_of_a_row_is_the_same_row(columns: dict[str, str], row: dict[str, Any], tmp_path: Path) -> None:
    path = str(write_pairs(tmp_path / "steps.jsonl", [row]))
    (one,) = load_data(DataConfig(train=(SourceConfig(path=path, columns=columns),)), rows=STEPS).train
    assert [(turn["role"], turn["content"]) for turn in one.messages] == [
        ("user", "2 + 3?"), ("assistant", "2 + 3 = 5\nso 5")
    ]  # fmt: skip
    assert (one.given, one.steps) == (1, ((9, 1.0), (14, 1.0)))


def test_answers_in_steps_do_not_contradict_each_other(tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = [
        {**GOOD, "completions": ["2 + 3 = 5", end], "labels": [1, end == "so 5"]} for end in ("so 5", "so 6", "so 7")
    ]
    report = check_recipe(load_recipe(step_recipe(tmp_path, tiny_llama_dir, rows)), console=QUIET)
    assert report.rows == 3
    assert not report.findings


def test_settings_of_other_losses_are_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = step_recipe(tmp_path, tiny_llama_dir, [GOOD])
    for setting, said in (
        ("center=0.1", "is about pairs, and `loss` is step"),
        ("loss=score", "`separator` is about steps"),
    ):
        with pytest.raises(RecipeError, match=said):
            load_recipe(recipe, ["objective.separator=' '", f"objective.{setting}"])


def test_rows_of_another_kind_and_steps_without_a_token_are_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = step_recipe(tmp_path, tiny_llama_dir, [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    with pytest.raises(DataError, match="learns from rows with a `prompt`, and the steps of an answer"):
        load_rendered(load_recipe(recipe), tell=lambda line: None)
    write_pairs(tmp_path / "steps.jsonl", [{**GOOD, "completions": ["one w", "o", "rd"], "labels": [1, 1, 0]}])
    with pytest.raises(RenderingError, match="two of its steps end in the same token"):
        load_rendered(load_recipe(recipe, ["objective.separator=''"]), tell=lambda line: None)
    write_pairs(tmp_path / "steps.jsonl", [GOOD, GOOD])
    with pytest.raises(DataError, match="Learn from steps with objective"):
        load_rendered(load_recipe(recipe, ["objective={type: reward}"]), tell=lambda line: None)
    with pytest.raises(DataError, match="good as a whole"):
        convert_file(Input(str(tmp_path / "steps.jsonl")), tmp_path / "out.jsonl", to="messages")
