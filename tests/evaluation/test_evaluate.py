"""Evaluation of a real model, against answers and losses that transformers computes row by row."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import evaluate_target, save_adapter

from weitiao.cli.proof import eval as eval_command
from weitiao.data.example import Example
from weitiao.errors import DataError, RecipeError, RenderingError, RunError
from weitiao.evaluation.config import EvaluationConfig
from weitiao.evaluation.task import Task, evaluate, make_task
from weitiao.generation.config import GenerationConfig
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.lora import LoraConfig
from weitiao.methods.open import open_model
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import load_model, load_tokenizer
from weitiao.recipe import load_recipe, write_recipe
from weitiao.study.task import task_from_recipe

QUESTIONS = ["What is it?", "今天天气好吗？", "Answer: 1 + 12 = ?", "a", "answer the question in one word 🙂", "Who?"]
NEW_TOKENS = 6
CONFIG = EvaluationConfig(generation=GenerationConfig(max_new_tokens=NEW_TOKENS))


def user(question: str) -> dict[str, Any]:
    return {"role": "user", "content": question}


def answers_of_transformers(model: Any, tokenizer: Any) -> list[str]:
    """Greedy answers, one question after the other, by `generate` with its own cache."""
    answers = []
    for question in QUESTIONS:
        text = tokenizer.apply_chat_template([user(question)], tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt").input_ids
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0
        )
        answers.append(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))
    return answers


def loss_of_transformers(model: Any, tokenizer: Any, rows: list[tuple[str, str]]) -> tuple[float, int]:
    """Mean loss of the answers and their end-of-turn tokens, one row after the other, and how many tokens they are."""
    total, count = 0.0, 0
    for question, answer in rows:
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        prompt_ids, answer_ids = tokenizer(prompt).input_ids, tokenizer(f"{answer}<|im_end|>").input_ids
        with torch.no_grad():
            logits = model(torch.tensor([prompt_ids + answer_ids])).logits[0]
        predictions = logits[len(prompt_ids) - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(predictions, torch.tensor(answer_ids), reduction="sum"))
        count += len(answer_ids)
    return total / count, count


@pytest.fixture(scope="module")
def reference(tiny_llama_dir: Path) -> tuple[Any, Any]:
    """The tiny model as plain transformers loads it, with its tokenizer."""
    return (
        AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval(),
        AutoTokenizer.from_pretrained(tiny_llama_dir),
    )


@pytest.fixture(scope="module")
def opened(tiny_llama_dir: Path) -> Any:
    return open_model(tiny_llama_dir)


def task(rows: list[Example], config: EvaluationConfig = CONFIG) -> Task:
    return make_task(rows, config)


def examples(answers: list[str]) -> list[Example]:
    return [
        Example(f"test:{index}", (user(question), {"role": "assistant", "content": answer}))
        for index, (question, answer) in enumerate(zip(QUESTIONS, answers, strict=True), start=1)
    ]


def test_right_are_the_rows_that_transformers_answers_so(reference: Any, opened: Any) -> None:
    answers = answers_of_transformers(*reference)
    expected = [f"  {answers[0]}\n", "something else", *answers[2:]]
    calls: list[tuple[int, int]] = []
    evaluation = evaluate(
        opened.model,
        opened.tokenizer,
        task(examples(expected)),
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert [one.answer for one in evaluation.predictions] == answers
    assert [one.correct for one in evaluation.predictions] == [True, False, True, True, True, True]
    assert evaluation.scores.exact_match is not None
    assert evaluation.scores.exact_match.value == 5 / 6
    assert calls[-1] == (6, 6)


def test_answers_of_which_the_end_is_missing_are_counted(opened: Any) -> None:
    one_token = EvaluationConfig(generation=GenerationConfig(max_new_tokens=1))
    evaluation = evaluate(opened.model, opened.tokenizer, task(examples(["x"] * 6), one_token))
    assert evaluation.scores.num_unstopped == sum(not one.stopped for one in evaluation.predictions) > 0


def test_prompt_of_a_conversation_is_all_before_its_last_answer(opened: Any) -> None:
    turns = (user("a"), {"role": "assistant", "content": "b"}, user("c"), {"role": "assistant", "content": "d"})
    (prediction,) = evaluate(opened.model, opened.tokenizer, task([Example("r:1", turns)])).predictions
    assert (prediction.messages, prediction.expected) == (turns[:3], "d")


def test_rows_without_an_answer_to_compare_with_are_counted(opened: Any) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": []}
    rows = [*examples(["x"] * 6)[:2], Example("r:1", text="raw text"), Example("r:2", (user("a"), call))]
    scores = evaluate(opened.model, opened.tokenizer, task(rows)).scores
    assert (scores.exact_match and scores.exact_match.n, scores.num_ungraded) == (2, 2)


def test_a_prompt_that_fills_the_context_is_named_before_any_answer(opened: Any) -> None:
    rows = [*examples(["x"] * 6), Example("long.jsonl:7", (user("word " * 600), {"role": "assistant", "content": "x"}))]
    with pytest.raises(RenderingError, match=r"long\.jsonl:7.*512"):
        evaluate(opened.model, opened.tokenizer, task(rows), on_progress=lambda done, total: pytest.fail("too late"))


@pytest.fixture
def recipe_path(tmp_path: Path, tiny_llama_dir: Path, reference: Any) -> Path:
    """A recipe with test rows of which the untuned model answers two in three, and two validation rows."""
    answers = answers_of_transformers(*reference)
    expected = ["wrong" if index % 3 == 0 else answer for index, answer in enumerate(answers)]
    for name, rows in (
        ("test", zip(QUESTIONS, expected, strict=True)),
        ("validation", [("Is it?", "one word"), ("好？", "是的")]),
        ("train", [("a", "b")]),
    ):
        lines = [json.dumps({"prompt": question, "completion": answer}) for question, answer in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"model: {tiny_llama_dir}\n"
        "data: {train: train.jsonl, validation: validation.jsonl, test: test.jsonl}\n"
        f"evaluate: {{generation: {{max_new_tokens: {NEW_TOKENS}}}}}\n"
        f"run_dir: {tmp_path / 'run'}\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def run_dir(recipe_path: Path, tiny_llama_dir: Path) -> Path:
    """A run with an adapter of random values in `final/`."""
    recipe = load_recipe(recipe_path)
    assert recipe.run_dir is not None
    (recipe.run_dir / "final").mkdir(parents=True)
    write_recipe(recipe, recipe.run_dir / "recipe.yaml")
    config = ModelConfig(name=str(tiny_llama_dir))
    model = LoraConfig(r=4).build().apply(load_model(config), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    save_adapter(
        recipe.run_dir / "final",
        model,
        load_tokenizer(config),
        base=str(tiny_llama_dir),
        fingerprint=model_fingerprint(tiny_llama_dir),
    )
    return recipe.run_dir


def test_a_recipe_scores_its_untuned_model(recipe_path: Path, reference: Any) -> None:
    scored = evaluate_target(recipe_path)
    assert not scored.tuned
    assert scored.scores.exact_match is not None
    assert (scored.scores.exact_match.value, scored.scores.exact_match.n) == (4 / 6, 6)
    loss, count = loss_of_transformers(*reference, [("Is it?", "one word"), ("好？", "是的")])
    assert scored.scores.validation_loss is not None
    assert scored.scores.validation_loss.num_targets == count
    assert scored.scores.validation_loss.loss == pytest.approx(loss, abs=1e-5)
    stored = json.loads((recipe_path.parent / "run" / "scores-base.json").read_text())
    assert stored["exact_match"]["value"] == 4 / 6


def test_a_run_scores_the_tuned_model_and_its_base_beside_it(
    run_dir: Path, reference: Any, tiny_llama_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import PeftModel

    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), run_dir / "final").eval()
    eval_command(run_dir, json=True)
    result = json.loads(capsys.readouterr().out)
    stored = [json.loads(line) for line in (run_dir / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["answer"] for one in stored] == answers_of_transformers(tuned, reference[1])
    assert result["tuned"]
    assert result["scores_path"] == str(run_dir / "scores.json")
    base = evaluate_target(run_dir, base=True)
    assert base.scores.exact_match is not None
    assert base.scores.exact_match.value == 4 / 6
    assert base.scores_path == run_dir / "scores-base.json"
    assert (run_dir / "scores.json").exists()
    assert result["validation_loss"]["loss"] != base.scores.validation_loss.loss  # type: ignore[union-attr]


def test_settings_limit_and_output_come_from_the_command_line(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eval_command(run_dir, ["data.validation=null"], limit=2, output=tmp_path / "elsewhere")
    shown = capsys.readouterr().out
    assert "n = 2" in shown
    scores = json.loads((tmp_path / "elsewhere" / "scores.json").read_text())
    assert (scores["exact_match"]["n"], scores["validation_loss"]) == (2, None)
    assert not (run_dir / "scores.json").exists()


def test_scores_of_other_rows_or_settings_go_beside_those_of_the_run(run_dir: Path) -> None:
    whole = evaluate_target(run_dir)
    written = (run_dir / "scores.json").read_bytes(), (run_dir / "predictions.jsonl").read_bytes()
    part = evaluate_target(run_dir, ["evaluate.limit=2", "data.validation=null"])
    assert part.scores.exact_match is not None
    assert (part.scores.exact_match.n, part.scores_path.parent.parent) == (2, run_dir)
    assert evaluate_target(run_dir, ["evaluate.limit=2"], base=True).scores_path.parent.parent == run_dir
    assert ((run_dir / "scores.json").read_bytes(), (run_dir / "predictions.jsonl").read_bytes()) == written
    of, of_part = (json.loads(one.scores_path.read_text())["of"] for one in (whole, part))
    assert of["weights"] == of_part["weights"] == weights_hash(load_recipe(run_dir).model, run_dir / "final")
    assert of["task"] != of_part["task"]
    assert of["files"] == {"predictions.jsonl": hashlib.sha256(written[1]).hexdigest()}
    again = evaluate_target(run_dir, ["evaluate.generation.batch_size=3"])  # changes no answer
    assert again.scores_path == whole.scores_path
    assert json.loads(again.scores_path.read_text())["of"] == of


def test_the_task_of_a_recipe_has_its_rows_limit_and_metrics(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path, ["evaluate.limit=2", "evaluate.metrics=[contains, rouge_l]"])
    test = task_from_recipe(recipe)
    assert [one.row_id for one in test.examples] == ["test.jsonl:1", "test.jsonl:2"]
    assert [one.title for one in test.metrics] == ["contains", "rouge_l"]
    assert test.generation.max_new_tokens == NEW_TOKENS
    validation = task_from_recipe(recipe, part="validation", sample=1)
    assert len(validation.examples) == 1
    assert validation.examples[0].row_id.startswith("validation.jsonl:")
    with pytest.raises(RecipeError, match="perplexity"):
        task_from_recipe(load_recipe(recipe_path, ["evaluate.metrics=perplexity"]))


def test_perplexity_of_test_and_validation_rows(recipe_path: Path, reference: Any) -> None:
    scored = evaluate_target(recipe_path, ["evaluate.metrics=[exact_match, perplexity]"])
    lines = (recipe_path.parent / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [(row["prompt"], row["completion"]) for row in map(json.loads, lines)]
    loss, _ = loss_of_transformers(*reference, rows)
    found = scored.scores.metrics["perplexity"]
    assert (found.value, found.n) == (pytest.approx(math.exp(loss), rel=1e-4), 6)
    assert found.low < found.value < found.high
    held_out, _ = loss_of_transformers(*reference, [("Is it?", "one word"), ("好？", "是的")])
    assert scored.scores.validation_perplexity is not None
    assert scored.scores.validation_perplexity.value == pytest.approx(math.exp(held_out), rel=1e-4)


def test_raw_text_is_scored_by_perplexity_alone(recipe_path: Path) -> None:
    (recipe_path.parent / "text.jsonl").write_text('{"text": "a small model"}\n{"text": "answer the question"}\n')
    settings = ["data.test=text.jsonl", "data.validation=null", "evaluate.metrics=perplexity"]
    scored = evaluate_target(recipe_path, settings)
    assert (scored.scores.primary, scored.scores.metrics["perplexity"].n) == ("perplexity", 2)
    assert scored.predictions == ()


def test_a_row_that_a_metric_cannot_grade_is_named_before_there_is_a_task() -> None:
    with pytest.raises(DataError, match="test:3"):
        task(examples(["1", "2", "none", "3", "4", "5"]), CONFIG.model_validate({"metrics": "number"}))


def test_a_function_whose_numbers_are_no_grades_is_refused_before_the_model_is_loaded(recipe_path: Path) -> None:
    (recipe_path.parent / "my.py").write_text("def twice(answer, expected, row):\n    return 2 * bool(answer)\n")
    with pytest.raises(RecipeError, match=r"twice returned 2 for .*test\.jsonl:1, not a number from 0 to 1"):
        evaluate_target(recipe_path, ["evaluate.metrics=my.py:twice", "model.name=not/there"])


def test_columns_and_grades_are_kept_and_the_function_of_the_user_sees_them(recipe_path: Path) -> None:
    folder = recipe_path.parent
    rows = [{"prompt": question, "completion": "x", "level": place} for place, question in enumerate(QUESTIONS)]
    (folder / "levels.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "my.py").write_text("def score(answer, expected, row):\n    return row['level'] / 5\n")
    scored = evaluate_target(
        recipe_path, ["data.test=levels.jsonl", "data.validation=null", f"evaluate.metrics={folder / 'my.py'}:score"]
    )
    lines = scored.predictions_path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["columns"] for line in lines] == [{"level": place} for place in range(6)]
    assert [json.loads(line)["grades"]["score"] for line in lines] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert [json.loads(line)["correct"] for line in lines] == [False] * 5 + [True]
    assert scored.scores.metrics["score"].value == pytest.approx(0.5)


def test_a_recipe_that_holds_out_nothing_is_refused(recipe_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.test"):
        evaluate_target(recipe_path, ["data.test=null", "data.validation=null"])


def test_a_run_without_final_weights_is_refused(recipe_path: Path) -> None:
    run = recipe_path.parent / "run"
    run.mkdir()
    write_recipe(load_recipe(recipe_path), run / "recipe.yaml")
    with pytest.raises(RunError, match="no final weights"):
        evaluate_target(run)
