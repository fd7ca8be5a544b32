"""The suite on a small random model: grades against an independent reference, progress, and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from weitiao.evaluation.borders import VerdictConfig
from weitiao.methods.open import open_model
from weitiao.retention.comparison import compare_retention
from weitiao.retention.config import RetentionConfig
from weitiao.retention.constraints import follows
from weitiao.retention.parts import ChoicePart, InstructionPart, PassagePart
from weitiao.retention.run import SMALL, retention_parts, run_retention
from weitiao.retention.scores import RetentionScores

LIMITED = RetentionConfig(limit=9)


@pytest.fixture(scope="module")
def opened(tiny_llama_dir: Path) -> Any:
    return open_model(tiny_llama_dir)


@pytest.fixture(scope="module")
def calls() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def scores(opened: Any, calls: list[tuple[str, float]]) -> RetentionScores:
    return run_retention(
        opened.model, opened.tokenizer, LIMITED, on_progress=lambda part, share: calls.append((part, share))
    )


@pytest.fixture(scope="module")
def plain(tiny_llama_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval()


def mean_loss(model: Any, ids: list[int], start: int) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    return float(torch.nn.functional.cross_entropy(logits[start - 1 : -1], torch.tensor(ids[start:])))


def test_every_part_is_scored_twice_over(scores: RetentionScores) -> None:
    with_answers = [name for name in SMALL if not name.startswith("text")]
    names = [part.name for part in scores.parts]
    assert sorted(names) == sorted([*SMALL, *(f"{name}-answers" for name in with_answers)])
    assert {part.name for part in scores.parts if part.kind == "accuracy"} == set(with_answers)
    assert all(part.estimate.n == len(part.grades) == 9 for part in scores.parts)
    assert scores.skipped == {}


def test_losses_are_those_of_transformers(scores: RetentionScores, opened: Any, plain: Any) -> None:
    found = {part.name: part.grades for part in scores.parts}
    for part in retention_parts(LIMITED):
        if isinstance(part, PassagePart):
            for name, text in part.passages.items():
                assert found[part.name][name] == pytest.approx(
                    mean_loss(plain, opened.tokenizer(text).input_ids, 1), abs=1e-4
                )
        elif isinstance(part, ChoicePart):
            for item in part.items:
                known = opened.tokenizer(item.question).input_ids
                whole = opened.tokenizer(item.question + part.delimiter + item.choices[item.answer]).input_ids
                expected = mean_loss(plain, known + whole[len(known) :], len(known))
                assert found[f"{part.name}-answers"][item.item_id] == pytest.approx(expected, abs=1e-4)
        elif isinstance(part, InstructionPart):
            for one in part.items:
                prompt = f"<|im_start|>user\n{one.prompt}<|im_end|>\n<|im_start|>assistant\n"
                known = opened.tokenizer(prompt).input_ids
                whole = known + opened.tokenizer(f"{one.answer}<|im_end|>").input_ids
                expected = mean_loss(plain, whole, len(known))
                assert found[f"{part.name}-answers"][one.item_id] == pytest.approx(expected, abs=1e-4)


def test_answers_are_graded_and_guessing_is_measured(scores: RetentionScores) -> None:
    parts = {part.name: part for part in scores.parts}
    for part in retention_parts(LIMITED):
        if isinstance(part, InstructionPart):
            found = parts[part.name]
            assert found.grades == {
                item.item_id: float(follows(found.answers[item.item_id], item.constraints)) for item in part.items
            }
            crossed = [
                follows(found.answers[other.item_id], item.constraints)
                for item in part.items
                for other in part.items
                if other != item
            ]
            assert found.guessing == pytest.approx(sum(crossed) / len(crossed))
    assert parts["knowledge-en"].guessing == 0.25


def test_progress_goes_up_to_one(scores: RetentionScores, calls: list[tuple[str, float]]) -> None:
    shares = [share for _, share in calls]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert {part for part, _ in calls} == set(SMALL)


def test_the_same_model_in_other_batches_has_lost_nothing(scores: RetentionScores, opened: Any) -> None:
    assert all(part.noise < 1e-5 for part in scores.parts)
    config = LIMITED.model_copy(update={"token_budget": 300})
    again = run_retention(opened.model, opened.tokenizer, config)
    comparison = compare_retention(scores, again)
    assert comparison.lost == comparison.worse == ()
    assert all(abs(part.difference.value) < 1e-5 for part in comparison.parts)
    assert {part.outcome for part in comparison.parts if part.informative} == {"unclear"}  # nine items decide nothing
    losses = [part for part in comparison.judged(VerdictConfig(least_rows=9)).parts if part.kind == "loss"]
    assert {part.outcome for part in losses} == {"kept"}


def test_without_a_chat_template_only_texts_are_scored(tiny_llama_dir: Path) -> None:
    opened = open_model(tiny_llama_dir)
    opened.tokenizer.chat_template = None
    found = run_retention(opened.model, opened.tokenizer, RetentionConfig(suite="small", limit=2))
    assert set(found.skipped) == {"instructions-en", "instructions-zh", "arithmetic"}
    assert not any(part.answers for part in found.parts)
