"""KTO through the real training, against a plain loop over single sequences."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import log_probability, pairs, pairs_recipe, token_ids, write_pairs
from rich.console import Console
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup
from workbench import evaluate_target, require_same_after_resume, steps_of

from weitiao.recipe import load_recipe
from weitiao.report.render import render_report
from weitiao.seeding import shuffled
from weitiao.study.train import train
from weitiao.study.why import rows_behind

QUIET = Console(quiet=True)
TRAIN = {"max_steps": 4, "batch_size": 2, "seed": 3, "learning_rate": 5e-3, "warmup": 0, "save_every": 2}


def marked(num: int) -> list[dict[str, Any]]:
    return [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": i % 3 > 0} for i, row in enumerate(pairs(num))
    ]


def test_steps_are_those_of_a_plain_loop_and_going_on_gives_the_same(tiny_llama_dir: Path, tmp_path: Path) -> None:
    objective = {"type": "kto", "group": 3, "undesirable_weight": 1.5, "beta": 0.3}
    recipe = pairs_recipe(tmp_path, tiny_llama_dir, objective=objective, method={"type": "full"}, train=TRAIN)
    recipe.write_text(recipe.read_text().replace('"r": 4,', ""))
    rows = marked(13)
    write_pairs(tmp_path / "pairs.jsonl", rows)
    run = train(load_recipe(recipe), console=QUIET).path
    model, frozen = (AutoModelForCausalLM.from_pretrained(tiny_llama_dir) for _ in range(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0, eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, 0, 4)
    groups = [rows[0:3], rows[3:6], rows[6:9], rows[9:13]]

    def ratio(ids: list[int], given: int) -> torch.Tensor:
        with torch.no_grad():
            before = log_probability(frozen, ids, given)
        return log_probability(model, ids, given) - before

    def judged(group: list[dict[str, Any]]) -> tuple[list[tuple[int, torch.Tensor]], float]:
        made = [token_ids(row, "completion", tiny_llama_dir) for row in group]
        longest, others = max(len(ids) for ids, _ in made), [*made[1:], made[0]]
        crossed = [((a[:n] + b[m:])[:longest], n) for (a, n), (b, m) in zip(made, others, strict=True)]
        found = [(1 if row["label"] else -1, ratio(*one)) for row, one in zip(group, made, strict=True)]
        return found, max(0.0, sum(ratio(*one).item() for one in crossed) / len(made))

    for step in range(4):
        losses, right, kl = [], 0, 0.0
        for index in shuffled(4, seed=3, epoch=step // 2)[step % 2 * 2 :][:2]:
            found, point = judged(groups[index])
            kl += point * len(found)
            for sign, one in found:
                weight = 1.0 if sign > 0 else 1.5
                losses.append(weight * (1 - torch.sigmoid(0.3 * sign * (one - point))))
                right += sign * (one.item() - point) > 0
        mean = torch.stack(losses).mean()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        line = steps_of(run)[step]
        assert line["loss"] == pytest.approx(mean.item(), rel=5e-5)
        assert line["kl"] == pytest.approx(kl / len(losses), rel=1e-3, abs=1e-5)
        if step:
            assert line["accuracy"] == pytest.approx(right / len(losses))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    assert not math.isclose(steps_of(run)[0]["loss"], steps_of(run)[3]["loss"])
    require_same_after_resume(run, 4)
    behind = rows_behind(run, 1, num=1)  # a group, whose rows are computed together
    numbers = [int(one.row_id.rpartition(":")[2]) - 1 for one in behind]
    assert [rows[place] for place in numbers] in groups
    for one, place in zip(behind, numbers, strict=True):
        assert one.answer.strip() == rows[place]["completion"] + "<|im_end|>"
        assert one.label == ("good" if rows[place]["label"] else "bad")
    held = write_pairs(tmp_path / "held.jsonl", marked(8))
    scores = evaluate_target(run, [f"data.test={held}", "evaluate.generation.max_new_tokens=2"], output=run).scores
    right = 0
    for group in (marked(8)[:3], marked(8)[3:6], marked(8)[6:]):
        found, point = judged(group)
        right += sum(sign * (one.item() - point) > 0 for sign, one in found)
    assert scores.metrics["marked_accuracy"].value == right / 8
    assert f"{right / 8:.1%}" in render_report(run)


def test_forests_change_nothing(tiny_llama_dir: Path, tmp_path: Path) -> None:
    found = []
    for name, further in (("whole", []), ("alone", ["train.share_prefixes=false", "train.token_budget=640"])):
        recipe = pairs_recipe(tmp_path / name, tiny_llama_dir, objective={"type": "kto"}, train=TRAIN)
        write_pairs(tmp_path / name / "pairs.jsonl", marked(16))
        found.append(steps_of(train(load_recipe(recipe, further), console=QUIET).path))
    for one, other in zip(*found, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["num_forests"] > one["num_forests"]
