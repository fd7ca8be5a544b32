"""Comparisons of tiny models and of files of predictions: pairs, statistics, what is refused, what is reused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from workbench import evaluate_target, save_adapter

from weitiao.data.example import Example, Message
from weitiao.errors import DataError, ModelError, RecipeError, RunError, WeitiaoError
from weitiao.evaluation.answer_files import AnswersKey, answers_key, note_key, read_predictions, write_predictions
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.comparison import Comparison, compare_predictions
from weitiao.evaluation.metrics.labels import MacroF1
from weitiao.evaluation.pairing import pair_predictions
from weitiao.evaluation.statistics import mean
from weitiao.generation.config import GenerationConfig
from weitiao.json_text import json_text
from weitiao.methods.adapter import ADAPTER_CONFIG
from weitiao.methods.fingerprint import adapter_hash
from weitiao.methods.lora import LoraConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import load_model, load_tokenizer
from weitiao.recipe import load_recipe, write_recipe
from weitiao.records import record_of
from weitiao.study.compare.run import compare_targets
from weitiao.study.compare.sides import find_side, require_different

NUM_ROWS = 12


def predictions(
    *grades: float,
    answers: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    metric: str = "exact_match",
) -> tuple[Prediction, ...]:
    return tuple(
        Prediction(
            row_id=f"test.jsonl:{row}",
            messages=({"role": "user", "content": f"question {row}"},),
            expected=labels[row - 1] if labels else f"the right answer, {row} of many words that are no label at all",
            answer=answers[row - 1] if answers else f"answer {row} graded {grade}",
            num_tokens=3,
            stopped=True,
            correct=grade == 1,
            grades={metric: grade},
        )
        for row, grade in enumerate(grades, start=1)
    )


def user(content: str) -> Message:
    return {"role": "user", "content": content}


@pytest.fixture
def work(tmp_path: Path, tiny_llama_dir: Path) -> Path:
    """A recipe with twelve test rows."""
    for name, num in (("train", 4), ("test", NUM_ROWS)):
        rows = [{"prompt": f"{name} question {k}: what is it?", "completion": f"word {k % 3}"} for k in range(num)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        f"model: {tiny_llama_dir}\ndata: {{train: train.jsonl, test: test.jsonl}}\n"
        "evaluate: {generation: {max_new_tokens: 5}}\n",
        encoding="utf-8",
    )
    return tmp_path


def make_run(work: Path, name: str, *, seed: int, overrides: Sequence[str] = ()) -> Path:
    """A run directory with an adapter of random values."""
    recipe = load_recipe(work / "recipe.yaml", overrides)
    run = work / name
    (run / "final").mkdir(parents=True)
    write_recipe(recipe, run / "recipe.yaml")
    model = LoraConfig(r=4).build().apply(load_model(recipe.model), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.3, generator=generator)
    base = Path(recipe.model.name)
    save_adapter(
        run / "final", model, load_tokenizer(recipe.model), base=str(base), fingerprint=model_fingerprint(base)
    )
    return run


@pytest.fixture
def run(work: Path) -> Path:
    return make_run(work, "run", seed=1)


# --- statistics and changes ---


def test_differences_are_those_of_mcnemar_on_the_same_rows() -> None:
    before = predictions(*[1] * 10, *[0] * 20, *[1] * 3, *[0] * 7)
    after = predictions(*[1] * 10, *[0] * 20, *[0] * 3, *[1] * 7)
    found = compare_predictions(before, after, names=("A", "B"))
    assert (found.both_right, found.both_wrong, found.only_a, found.only_b) == (10, 20, 3, 7)
    assert found.gain.difference.value == pytest.approx(0.1)
    assert found.gain.p_value == pytest.approx(stats.binomtest(7, 10).pvalue)
    assert (found.metrics["exact_match"].before.value, found.metrics["exact_match"].after.value) == (13 / 40, 17 / 40)
    assert [one.row_id for one in found.better] == [f"test.jsonl:{row}" for row in range(34, 41)]
    assert [one.row_id for one in found.worse] == [f"test.jsonl:{row}" for row in range(31, 34)]
    assert (found.worse[0].before, found.worse[0].after) == ("answer 31 graded 1", "answer 31 graded 0")
    assert found.worse[0].prompt == "question 31"
    assert found.num_same_answers == 30


def test_grades_between_0_and_1_change_by_how_much() -> None:
    found = compare_predictions(
        predictions(0.1, 0.9, 0.5, 0.4, metric="rouge_l"), predictions(0.2, 0.3, 0.5, 1.0, metric="rouge_l"),
        names=("A", "B"),
    )  # fmt: skip
    assert found.gain.difference.value == pytest.approx((0.1 - 0.6 + 0.6) / 4)
    assert [one.row_id[-1] for one in found.better] == ["4", "1"]
    assert [one.row_id[-1] for one in found.worse] == ["2"]
    assert found.gain.test == "paired permutation test"
    assert found.metrics["rouge_l"].after == mean([0.2, 0.3, 0.5, 1.0])


def test_a_score_of_the_whole_set_is_not_guessed_from_grades() -> None:
    """The mean of macro-F1's grades is the accuracy."""
    before, after = (
        tuple(replace(one, grades={"exact_match": one.grades["exact_match"], "macro_f1": one.grades["exact_match"]})
              for one in predictions(*grades, labels=["x", "x", "y", "z"]))
        for grades in ((0, 1, 0, 1), (1, 1, 1, 0))
    )  # fmt: skip
    assert list(compare_predictions(before, after, names=("A", "B")).metrics) == ["exact_match"]
    metric = MacroF1().build(labels=["x", "y", "z"])
    found = compare_predictions(before, after, names=("A", "B"), metrics=[metric])
    assert list(found.metrics) == ["exact_match", "macro_f1"]


def test_classes_that_changed() -> None:
    labels = ["x"] * 4 + ["y"] * 4 + ["z"] * 4
    found = compare_predictions(
        predictions(0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, labels=labels),
        predictions(1, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, labels=labels),
        names=("A", "B"),
    )
    assert [(one.label, one.support, one.before, one.after, one.fixed, one.broken) for one in found.classes] == [
        ("x", 4, 1, 4, 3, 0),
        ("y", 4, 2, 2, 1, 1),
    ]


def test_the_file_holds_all_of_it() -> None:
    found = compare_predictions(predictions(0, 1, 0.5), predictions(1, 1, 0.25), names=("A", "B"))
    written = json.loads(json_text({**asdict(found), "preferences": None}))
    assert record_of(Comparison, written) == found


# --- pairs ---


def test_rows_are_paired_by_their_id() -> None:
    before = predictions(0, 1, 0)
    pairs = pair_predictions(before, before[::-1])
    assert [(one.row_id, other.row_id) for one, other in pairs] == [(one.row_id, one.row_id) for one in before]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:2], r"B has no answer to test\.jsonl:3"),
        (lambda rows: (*rows, replace(rows[0], row_id="more.jsonl:1")), r"A has no answer to more\.jsonl:1"),
        (lambda rows: (*rows, rows[1]), r"B answers the row test\.jsonl:2 more than once"),
        (
            lambda rows: (rows[0], replace(rows[1], expected="else"), rows[2]),
            r"at test\.jsonl:2 the expected answer.*else",
        ),
        (
            lambda rows: (rows[0], replace(rows[1], messages=(user("question 2, reworded"),)), rows[2]),
            r"at test\.jsonl:2 the prompt.*reworded",
        ),
    ],
    ids=["missing", "more", "twice", "expected", "prompt"],
)
def test_the_first_difference_of_the_rows_is_named(change: Any, message: str) -> None:
    before = predictions(0, 1, 0)
    with pytest.raises(DataError, match=message):
        compare_predictions(before, change(predictions(1, 1, 1)), names=("A", "B"))


def test_solved_examples_and_a_system_turn_before_the_question_are_no_difference() -> None:
    shots = (user("an example"), {"role": "assistant", "content": "solved"})
    before = tuple(
        replace(one, messages=({"role": "system", "content": "be brief"}, *shots, *one.messages))
        for one in predictions(0, 1, 0)
    )
    found = compare_predictions(before, predictions(1, 1, 0), names=("8-shot", "tuned"))
    assert found.better[0].prompt == "question 1"
    with pytest.raises(DataError, match="the prompt"):
        pair_predictions([replace(before[0], messages=(*before[0].messages, *shots))], predictions(1))


def test_a_comparison_of_some_rows_leaves_that_of_all_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, grades in (("a", [0.0, 1.0] * 8), ("b", [1.0, 1.0, 0.0, 1.0] * 4)):
        write_predictions(tmp_path / f"{name}.jsonl", predictions(*grades))
    whole = compare_targets("a.jsonl", "b.jsonl")
    written = whole.path.read_bytes()
    some = compare_targets("a.jsonl", "b.jsonl", limit=4)
    assert (whole.comparison.n, some.comparison.n) == (16, 4)
    assert whole.path.read_bytes() == written
    assert json.loads(some.path.read_text())["n"] == 4
    mine = compare_targets("a.jsonl", "b.jsonl", limit=4, output=tmp_path / "mine")
    assert mine.path.parent == tmp_path / "mine"  # whoever names a folder gets that one


def test_without_a_common_metric_there_is_nothing_to_compare() -> None:
    with pytest.raises(DataError, match=r"exact_match.*rouge_l"):
        compare_predictions(predictions(1.0), predictions(1.0, metric="rouge_l"), names=("A", "B"))


# --- the same weights ---


def test_the_same_weights_are_refused_wherever_they_lie(run: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    copy, model_copy = tmp_path / "copied", tmp_path / "model"
    shutil.copytree(run, copy)
    shutil.copytree(tiny_llama_dir, model_copy)
    for a, b in (
        (run, run),
        (run, copy),
        (run, copy / "final"),
        (tiny_llama_dir, model_copy),
        (f"base:{run}", tiny_llama_dir),
        (f"base:{run}", f"base:{copy / 'final'}"),
    ):
        with pytest.raises(WeitiaoError, match="the same weights") as caught:
            compare_targets(str(a), str(b))
        assert caught.value.exit_code == 2


def test_an_adapter_is_named_after_what_it_computes(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run / "final", copy)
    config = json.loads((copy / ADAPTER_CONFIG).read_text())
    assert len(config["target_modules"]) > 1
    renamed = {**config, "target_modules": config["target_modules"][::-1], "base_model_name_or_path": "elsewhere"}
    (copy / ADAPTER_CONFIG).write_text(json.dumps(renamed))
    assert adapter_hash(copy) == adapter_hash(run / "final")
    (copy / ADAPTER_CONFIG).write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] + 1}))
    assert adapter_hash(copy) != adapter_hash(run / "final")


def test_other_weights_are_not_the_same(work: Path, run: Path) -> None:
    other = make_run(work, "other", seed=2)
    require_different(find_side(str(run)), find_side(str(other)))
    require_different(find_side(f"base:{run}"), find_side(str(run)))


def test_the_same_predictions_are_refused(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.jsonl", predictions(0, 1))
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    with pytest.raises(WeitiaoError, match="the very same predictions"):
        compare_targets(str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))


def test_what_is_not_there_is_named(work: Path) -> None:
    with pytest.raises(ModelError, match=r"no file .*nowhere\.jsonl"):
        find_side(str(work / "nowhere.jsonl"))
    with pytest.raises(ModelError, match="nowhere"):
        find_side(str(work / "nowhere"))
    (work / "empty").mkdir()
    with pytest.raises(RunError, match="neither a run nor an adapter"):
        find_side(f"base:{work / 'empty'}")
    unfinished = work / "unfinished"
    unfinished.mkdir()
    write_recipe(load_recipe(work / "recipe.yaml"), unfinished / "recipe.yaml")
    with pytest.raises(RunError, match="no final weights"):
        find_side(str(unfinished))
    assert find_side(f"base:{unfinished}").kind == "base"


# --- models ---


def test_base_and_tuned_model_answer_as_in_an_evaluation(run: Path) -> None:
    compared = compare_targets(f"base:{run}", str(run))
    base, tuned = evaluate_target(run, base=True), evaluate_target(run)
    assert [one.answer for one in compared.before] == [one.answer for one in base.predictions]
    assert [one.answer for one in compared.after] == [one.answer for one in tuned.predictions]
    assert compared.before != compared.after
    written = json.loads(compared.path.read_text(encoding="utf-8"))
    assert compared.path == run / "compare-base-run" / "comparison.json"
    assert (written["n"], written["a"], written["b"]) == (NUM_ROWS, f"base:{run}", str(run))
    assert written["weights_a"] != written["weights_b"]
    assert set(written["metrics"]) == set(tuned.scores.metrics)
    for name, estimate in tuned.scores.metrics.items():
        assert compared.comparison.metrics[name].after == estimate


def stored(run: Path) -> set[str]:
    """Files of answers that comparisons left in a run directory."""
    return {path.name for path in run.glob("predictions-????????????.jsonl")}


def test_answers_are_found_again(run: Path) -> None:
    """An answer changed on the disk, and noted so, shows whether the file is read or the model asked."""
    first = compare_targets(f"base:{run}", str(run))
    assert len(stored(run)) == 2
    (path,) = [path for path in run.glob("predictions-*.jsonl") if read_predictions(path) == first.after]
    note = json.loads(path.with_name(f"{path.stem}.key.json").read_text())
    key = AnswersKey(note["settings"], tuple(note["rows"]))
    write_predictions(path, [replace(one, answer="word 0") for one in first.after])
    assert compare_targets(f"base:{run}", str(run)).after == first.after  # the note is of another file
    write_predictions(path, [replace(one, answer="word 0") for one in first.after])
    note_key(path, key)
    again = compare_targets(f"base:{run}", str(run))
    assert {one.answer for one in again.after} == {"word 0"}
    assert sum(one.correct for one in again.after) == 4  # graded anew
    assert again.before == first.before


def test_answers_of_an_evaluation_are_found(run: Path) -> None:
    evaluate_target(run, base=True)
    scored = evaluate_target(run)
    compared = compare_targets(f"base:{run}", str(run))
    assert stored(run) == set()  # nothing was written anew
    assert [one.answer for one in compared.after] == [one.answer for one in scored.predictions]


def test_other_settings_rows_and_weights_are_answered_anew(work: Path, run: Path) -> None:
    first = compare_targets(f"base:{run}", str(run))
    longer = work / "longer.yaml"
    text = (work / "recipe.yaml").read_text().replace("max_new_tokens: 5", "max_new_tokens: 7")
    longer.write_text(text, encoding="utf-8")
    second = compare_targets(f"base:{run}", str(run), recipe=longer)
    assert any(len(a.answer) < len(b.answer) for a, b in zip(first.before, second.before, strict=True))
    assert len(stored(run)) == 4
    batches = work / "batches.yaml"
    batches.write_text(text.replace("max_new_tokens: 7", "max_new_tokens: 7, batch_size: 2"), encoding="utf-8")
    compare_targets(f"base:{run}", str(run), recipe=batches)
    assert len(stored(run)) == 4  # the size of a batch changes no answer
    reworded = work / "reworded.jsonl"
    reworded.write_text((work / "test.jsonl").read_text().replace("question 5", "question five"), encoding="utf-8")
    compare_targets(f"base:{run}", str(run), data=reworded)
    assert len(stored(run)) == 6


def test_answers_to_more_rows_serve_for_fewer(run: Path) -> None:
    first = compare_targets(f"base:{run}", str(run))
    limited = compare_targets(f"base:{run}", str(run), limit=3)
    assert [one.answer for one in limited.before] == [one.answer for one in first.before[:3]]
    assert limited.comparison.n == 3
    assert len(stored(run)) == 2


def test_drawn_answers_are_found_at_their_place_only() -> None:
    rows = [Example(f"r:{k}", (user("?"), {"role": "assistant", "content": "!"})) for k in range(3)]
    keys = {}
    for temperature in (0.0, 1.0):
        config = GenerationConfig(temperature=temperature)
        whole = answers_key("w", "float32", rows, [[1]] * 3, config)
        last = answers_key("w", "float32", rows[2:], [[1]], config)
        keys[temperature] = last.rows[0] in whole.rows
        assert answers_key("w", "float32", rows[:2], [[1]] * 2, config).rows == whole.rows[:2]
    assert keys == {0.0: True, 1.0: False}


def test_two_runs_with_other_test_rows_need_to_be_told_which(work: Path, run: Path) -> None:
    rows = (work / "test.jsonl").read_text().splitlines()
    (work / "changed").mkdir()
    changed = work / "changed" / "test.jsonl"
    changed.write_text("\n".join([*rows[:4], rows[4].replace("what", "who"), *rows[5:]]), encoding="utf-8")
    other = make_run(work, "other", seed=2, overrides=[f"data.test={changed}"])
    with pytest.raises(DataError, match=r"test\.jsonl:5"):
        compare_targets(str(run), str(other))
    compared = compare_targets(str(run), str(other), data=changed, limit=6)
    assert "who is it?" in compared.before[4].messages[0]["content"]
    assert compared.path == other / "compare-run-other" / "first-6" / "comparison.json"


def test_models_without_a_recipe_need_rows(work: Path, run: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no test rows are known"):
        compare_targets(str(tiny_llama_dir), str(run / "final"))
    output = tmp_path / "output"
    compared = compare_targets(str(tiny_llama_dir), str(run / "final"), recipe=work / "recipe.yaml", output=output)
    assert compared.comparison.n == NUM_ROWS
    assert len(list(output.glob("predictions-*.jsonl"))) == 2


def test_a_file_of_predictions_against_a_run(work: Path, run: Path) -> None:
    """The baseline's answers, with examples in the prompt, against the tuned model."""
    base = evaluate_target(run, base=True).predictions
    shots = (user("an example"), {"role": "assistant", "content": "solved"})
    path = work / "predictions-baseline.jsonl"
    write_predictions(path, [replace(one, messages=(*shots, *one.messages), answer="word 1") for one in base])
    compared = compare_targets(str(path), str(run))
    assert sum(one.correct for one in compared.before) == 4  # graded by the metrics of the recipe
    assert compared.comparison.only_a + compared.comparison.both_right == 4
    write_predictions(path, base[1:])
    with pytest.raises(DataError, match=r"has no answer to test\.jsonl:1"):
        compare_targets(str(path), str(run))


def test_two_files_are_compared_by_the_grades_they_have_or_by_a_recipe(work: Path, run: Path) -> None:
    base, tuned = evaluate_target(run, base=True), evaluate_target(run)
    a, b = work / "predictions-a.jsonl", work / "predictions-b.jsonl"
    write_predictions(a, base.predictions)
    write_predictions(b, [replace(one, answer=f"It is {one.expected}.") for one in tuned.predictions])
    compared = compare_targets(str(a), str(b), output=work / "out")
    assert compared.comparison.only_b == sum(one.correct for one in tuned.predictions)
    recipe = work / "contains.yaml"
    recipe.write_text(
        (work / "recipe.yaml").read_text().replace("evaluate: {", "evaluate: {metrics: [contains], "), encoding="utf-8"
    )
    regraded = compare_targets(str(a), str(b), recipe=recipe, output=work / "out")
    assert regraded.comparison.primary == "contains"
    assert regraded.comparison.metrics["contains"].after.value == 1.0
    assert compare_targets(str(a), str(b), limit=5, output=work / "out").comparison.n == 5
