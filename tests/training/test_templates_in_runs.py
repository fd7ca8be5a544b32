"""Chat templates in whole runs: that print the date, refuse rows, or put a think block before answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from workbench import evaluate_target, write_recipe

from weitiao.errors import DataError, RenderingError
from weitiao.evaluation.answer_files import read_predictions
from weitiao.methods.open import open_model
from weitiao.recipe import load_recipe
from weitiao.study.baseline.run import run_baseline
from weitiao.study.compare.run import compare_targets
from weitiao.study.dataset import load_rendered
from weitiao.study.train import train
from weitiao.study.why import rows_behind


def dated(template: str) -> str:
    return "{{- '<|im_start|>system\n' + strftime_now('%d %b %Y') + '<|im_end|>\n' -}}" + template


def refuses_system(template: str) -> str:
    return "{%- if messages[0].role == 'system' -%}{{- raise_exception('no system role') -}}{%- endif -%}" + template


def refuses_question_5(template: str) -> str:
    return (
        "{%- for message in messages if '5?' in message.content -%}{{- raise_exception('not five') -}}{%- endfor -%}"
        + template
    )


def thinks(template: str) -> str:
    """The last answer gets an empty think block, earlier ones none (as in Qwen3)."""
    block = "('<think>\n\n</think>\n\n' if loop.last and message.role == 'assistant' else '')"
    changed = template.replace("message['content'] +", f"{block} + message['content'] +")
    assert changed != template
    return changed


QUIET = Console(quiet=True)
Model = Callable[[Callable[[str], str]], Path]


@pytest.fixture
def with_template(tiny_llama_dir: Path, tmp_path: Path) -> Model:
    """The tiny model with a changed chat template."""

    def make(change: Callable[[str], str]) -> Path:
        copied = shutil.copytree(tiny_llama_dir, tmp_path / "model")
        path = copied / "chat_template.jinja"
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        return copied

    return make


def test_a_run_keeps_the_day_on_which_it_began(with_template: Model, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, with_template(dated), train={"max_steps": 2})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment.json").write_text('{"date": "2020-01-02"}', encoding="utf-8")
    recipe = load_recipe(path)
    told: list[str] = []
    begun = load_rendered(recipe, tell=told.append)
    assert "02 Jan 2020" in begun.tokenizer.decode(begun.train[0].sequences[0].token_ids.tolist())
    assert any("2020-01-02" in line for line in told)
    run = train(recipe)
    assert json.loads((run.path / "environment.json").read_text(encoding="utf-8"))["date"] == "2020-01-02"
    for again in (load_recipe(run.path), load_recipe(path)):
        assert load_rendered(again, tell=told.append).fingerprint == begun.fingerprint
    question = [{"role": "user", "content": "Hi"}]
    saved = open_model(run.path).tokenizer.apply_chat_template(question, tokenize=False)
    assert saved.startswith("<|im_start|>system\n02 Jan 2020<|im_end|>\n")
    other = load_recipe(path, ["rendering.date=2021-05-06"])
    assert load_rendered(other, tell=told.append).fingerprint != begun.fingerprint


def test_rows_that_the_template_refuses_are_bad_rows(with_template: Model, tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path,
        with_template(refuses_system),
        data={"train": "chats.jsonl", "validation": "held_out.jsonl"},
        train={"max_steps": 2, "validate_answers": 3},
    )
    rows = [
        {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "a"}]} for i in range(9)
    ]
    for number in (3, 5):
        rows[number]["messages"].insert(0, {"role": "system", "content": "Be brief."})
    for name, kept in (("chats", rows), ("held_out", rows[3:7])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    with pytest.raises(RenderingError, match=r"chats.jsonl:4: .*no system role.*chats.jsonl:6.*In all, 2 rows"):
        train(load_recipe(path))
    run = train(load_recipe(path, ["data.on_bad_rows=skip"]))
    rejected = [json.loads(line) for line in (run.path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(Path(one["file"]).name, one["row"]) for one in rejected] == [
        ("chats.jsonl", 4), ("chats.jsonl", 6), ("held_out.jsonl", 1), ("held_out.jsonl", 3),
    ]  # fmt: skip
    assert "no system role" in rejected[0]["reason"] and rejected[0]["data"]["messages"][0]["content"] == "Be brief."


def test_models_that_are_measured_by_each_other_leave_out_the_rows_that_one_of_them_is_not_asked(
    with_template: Model, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = write_recipe(
        tmp_path,
        with_template(refuses_system),
        data={"train": "chats.jsonl", "test": "asked.jsonl"},
        train={"max_steps": 2},
        evaluate={"generation": {"max_new_tokens": 4}},
    )
    other = shutil.copytree(tiny_llama_dir, tmp_path / "other")
    template = other / "chat_template.jinja"
    template.write_text(refuses_question_5(template.read_text(encoding="utf-8")), encoding="utf-8")
    answer = {"role": "assistant", "content": "a"}
    words = ["who", "what", "when", "why", "how", "where", "5?", "whose", "which"]
    system = {"role": "system", "content": "Be brief."}
    chats = [{"messages": [{"role": "user", "content": word}, answer]} for word in words]
    rows = [{"messages": [{"role": "user", "content": f"{number}?"}, answer]} for number in range(7)]
    for written in (chats, rows):
        written[3]["messages"].insert(0, system)
    for name, written in (("chats", chats), ("asked", rows)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written), encoding="utf-8")
    skip = "data.on_bad_rows=skip"
    run = train(load_recipe(path, [skip]))
    ids = [f"asked.jsonl:{number}" for number in (1, 2, 3, 5, 6, 7)]
    assert [Path(one.row_id).name for one in evaluate_target(run.path).predictions] == ids
    compared = compare_targets(f"base:{run.path}", str(run.path), console=QUIET)
    assert [Path(one.row_id).name for one in compared.after] == ids
    again = compare_targets(str(run.path / "predictions.jsonl"), str(run.path), console=QUIET)
    assert [Path(one.row_id).name for one in again.before] == ids
    ids.remove("asked.jsonl:6")  # the other model is not asked this one, so it decides nothing
    for a, b in ((str(other), str(run.path)), (str(run.path / "predictions.jsonl"), str(other))):
        sides = compare_targets(a, b, recipe=run.path / "recipe.yaml", console=QUIET)
        assert [Path(one.row_id).name for one in sides.before] == ids
    told: list[str] = []
    models = [f"baseline.models=[{json.dumps(str(other))}]", "baseline.shots=[0, 6]"]
    recipe = load_recipe(path, [skip, *models, "train.seed=1"])
    found = run_baseline(recipe, output=tmp_path / "baseline", console=QUIET, tell=told.append)
    for cell in found.baseline.cells:
        answers = read_predictions(found.directory / cell.predictions)
        assert [Path(one.row_id).name for one in answers] == ids
    assert any("no system role" in line for line in told) and any("not five" in line for line in told)
    with pytest.raises(RenderingError, match=r"asked.jsonl:4: .*no system role"):
        run_baseline(load_recipe(path), output=tmp_path / "strict", console=QUIET)
    with pytest.raises(DataError, match=r"No row can be asked.*no system role"):
        (tmp_path / "asked.jsonl").write_text(json.dumps(rows[3]) + "\n", encoding="utf-8")
        run_baseline(load_recipe(path, [skip]), output=tmp_path / "none", console=QUIET)


def test_what_the_template_puts_before_answers_is_no_part_of_them(with_template: Model, tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path,
        with_template(thinks),
        data={"train": "chats.jsonl", "test": "questions.jsonl"},
        train={"batch_size": 10, "max_steps": 40, "learning_rate": 0.01, "schedule": "constant", "warmup": 0},
        evaluate={"metrics": ["exact_match"], "generation": {"max_new_tokens": 40}},
    )
    answer = {"role": "assistant", "content": "red"}
    asked = [[{"role": "user", "content": f"colour {number}?"}, answer] for number in range(5)]
    chats = [[*asked[number], *asked[number - 1]] for number in range(5)]
    for name, rows in (("chats", chats), ("questions", asked)):
        lines = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    run = train(load_recipe(path))
    scored = evaluate_target(run.path)
    assert [one.answer for one in scored.predictions] == ["red"] * 5
    assert scored.scores.metrics["exact_match"].value == 1.0
    culprits = rows_behind(run.path, 1, num=10)  # five rows of two sequences each
    assert len(culprits) == len({one.row_id for one in culprits}) == 5
    assert {one.answer for one in culprits} == {"<think>\n\n</think>\n\nred<|im_end|>"}
