"""The suite on a small random model: grades against an independent reference, progress, noise, and the user's tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.verdict_config import VerdictConfig
from weitiao.methods.open import open_model
from weitiao.retention.comparison import compare_retention
from weitiao.retention.config import RetentionConfig
from weitiao.retention.constraints import follows
from weitiao.retention.parts import ChoicePart, InstructionPart, PassagePart
from weitiao.retention.run import retention_parts, run_retention
from weitiao.retention.scores import RetentionScores
from weitiao.retention.suite import SMALL
from weitiao.retention.tasks import resolve_tasks

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


@pytest.fixture
def task_dir(tmp_path: Path) -> Path:
    (tmp_path / "quiz.csv").write_text("question,A,B,answer\nwhat is it?,a word,a model,B\nwho?,one,few,A\n", "utf-8")
    rows = [{"prompt": f"what is {i}?", "completion": f"a word {i}"} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "quiz.yaml").write_text("{name: quiz, type: choice, data: quiz.csv, choices: [A, B]}", encoding="utf-8")
    return tmp_path


def test_tasks_of_the_user_are_scored_beside_the_suite(task_dir: Path, opened: Any, plain: Any) -> None:
    config = RetentionConfig.model_validate(
        {
            "suite": "none",
            "tasks": [
                "quiz.yaml",
                {"name": "rows", "type": "loss", "data": "rows.jsonl"},
                {
                    "name": "words",
                    "type": "generate",
                    "data": "rows.jsonl",
                    "metric": {"type": "regex", "pattern": "word"},
                    "generation": {"max_new_tokens": 3},
                },
            ],
        }
    )
    resolved = resolve_tasks(config, [task_dir])
    assert resolve_tasks(resolved, [Path("/nowhere")]) == resolved
    found = run_retention(opened.model, opened.tokenizer, resolved)
    parts = {part.name: part for part in found.parts}
    assert list(parts) == ["quiz", "quiz-answers", "rows", "words", "words-answers"]
    assert parts["quiz"].guessing == 0.5
    prompt = opened.tokenizer("<|im_start|>user\nwhat is 2?<|im_end|>\n<|im_start|>assistant\n").input_ids
    whole = prompt + opened.tokenizer("a word 2<|im_end|>").input_ids
    assert parts["rows"].grades["rows.jsonl:3"] == pytest.approx(mean_loss(plain, whole, len(prompt)), abs=1e-4)
    assert parts["rows"].grades == pytest.approx(parts["words-answers"].grades)
    assert len(parts["words"].answers) == 4


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (["missing.yaml"], RecipeError, "no file missing.yaml"),
        (["bad.yaml"], RecipeError, "bad.yaml: choice.extra"),
        ([{"name": "x", "type": "loss", "data": "missing.jsonl"}], DataError, "missing.jsonl"),
        (["quiz.yaml", "quiz.yaml"], RecipeError, "quiz is the name of more than one part"),
    ],
)
def test_a_task_that_cannot_be_used_is_named(
    task_dir: Path, tasks: list[Any], error: type[Exception], message: str
) -> None:
    (task_dir / "bad.yaml").write_text("{name: quiz, type: choice, data: quiz.csv, extra: 1}", encoding="utf-8")
    config = RetentionConfig.model_validate({"suite": "none", "tasks": tasks})
    with pytest.raises(error, match=message):
        retention_parts(resolve_tasks(config, [task_dir]))
