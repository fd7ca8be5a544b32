"""The baseline on tiny models: what is asked, what is kept, what is computed again, and what is advised."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import write_recipe

from weitiao.baseline.advice import Advice, Contender, advise
from weitiao.baseline.config import BaselineConfig
from weitiao.baseline.result import Baseline, read_baseline
from weitiao.errors import DataError, ModelError, RecipeError, RenderingError, RunError
from weitiao.evaluation.answer_files import read_predictions
from weitiao.evaluation.gap.analyse import Gap
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import mean, proportion, simultaneous
from weitiao.json_text import json_text
from weitiao.recipe import load_recipe
from weitiao.recipe import write_recipe as write_resolved
from weitiao.records import record_of
from weitiao.study.baseline.run import BaselineRun, run_baseline
from weitiao.terminal.baseline import print_baseline

COLOURS = ["red", "green", "blue"]
NEW_TOKENS = 4
QUIET = Console(quiet=True)


@pytest.fixture
def recipe_path(tmp_path: Path, tiny_llama_dir: Path) -> Path:
    """24 training and 12 test rows of three labels."""
    path = write_recipe(
        tmp_path, tiny_llama_dir, data={"test": "test.jsonl"}, verdict={"target": 0.5},
        baseline={"shots": [0, 2]}, evaluate={"generation": {"max_new_tokens": NEW_TOKENS}},
    )  # fmt: skip
    for name, start, num in (("rows", 0, 24), ("test", 100, 12)):
        rows = [
            {"instruction": asked(i), "output": COLOURS[i % 3], "side": "left" if i % 2 else "right"}
            for i in range(start, start + num)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(number: int) -> str:
    return f"thing {number} of kind{number % 4}?"


def run(recipe_path: Path, *overrides: str, console: Console = QUIET) -> BaselineRun:
    return run_baseline(load_recipe(recipe_path, overrides), console=console)


def written(found: BaselineRun) -> dict[str, int]:
    """When each predictions file was written."""
    return {path.name: path.stat().st_mtime_ns for path in found.directory.glob("predictions-baseline-*.jsonl")}


def seconds(found: BaselineRun) -> dict[str, tuple[float, float]]:
    """Measured times, which no two computations have in common."""
    return {cell.prompt: (cell.seconds_per_answer, cell.latency_seconds) for cell in found.baseline.cells}


def answer_of_transformers(model: Any, tokenizer: Any, turns: Sequence[tuple[str, str]]) -> str:
    """The greedy answer to turns that were written out by hand."""
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns) + "<|im_start|>assistant\n"
    ids = tokenizer(text, return_tensors="pt").input_ids
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0
    )
    return str(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


def test_every_prompt_is_answered_as_transformers_answers_it(recipe_path: Path, tiny_llama_dir: Path) -> None:
    found = run(recipe_path)
    model, tokenizer = (kind.from_pretrained(tiny_llama_dir) for kind in (AutoModelForCausalLM, AutoTokenizer))
    lines = (recipe_path.parent / "rows.jsonl").read_text().splitlines()
    train = {f"rows.jsonl:{number}": json.loads(line) for number, line in enumerate(lines, start=1)}
    assert [cell.prompt for cell in found.baseline.cells] == ["zero-shot", "2-shot random"]
    for cell in found.baseline.cells:
        shown = [train[row_id] for row_id in cell.shot_rows]
        earlier = [turn for row in shown for turn in (("user", row["instruction"]), ("assistant", row["output"]))]
        predictions = read_predictions(found.directory / cell.predictions)
        assert len(predictions) == found.baseline.num_rows == 12
        for number, one in enumerate(predictions):
            assert one.row_id == f"test.jsonl:{number + 1}"
            turns = [*earlier, ("user", asked(100 + number))]
            assert [(turn["role"], turn["content"]) for turn in one.messages] == turns
            assert one.answer == answer_of_transformers(model, tokenizer, turns)
            assert one.columns["side"] == ("left" if number % 2 else "right")


def test_numbers_of_a_cell(recipe_path: Path, tiny_llama_dir: Path) -> None:
    found = run(recipe_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    cell = found.baseline.cells[1]
    predictions = read_predictions(found.directory / cell.predictions)
    prompts = [
        tokenizer.apply_chat_template(list(one.messages), add_generation_prompt=True, return_dict=False)
        for one in predictions
    ]
    assert cell.cost.prompt_tokens == pytest.approx(sum(map(len, prompts)) / 12)
    shots = tokenizer.apply_chat_template(list(predictions[0].messages[:4]), return_dict=False)
    assert cell.cost.example_tokens == pytest.approx(len(shots))
    assert cell.cost.context_share == pytest.approx(len(shots) / 512)
    assert cell.answer_tokens == pytest.approx(sum(one.num_tokens for one in predictions) / 12)
    assert cell.num_cut_off == sum(not one.stopped for one in predictions)
    assert cell.num_parameters == AutoModelForCausalLM.from_pretrained(tiny_llama_dir).num_parameters()
    assert next(iter(cell.metrics)) == found.baseline.primary == "exact_match"
    assert {"accuracy", "macro_f1"} <= set(cell.metrics)  # the answers are labels
    assert cell.metrics["exact_match"] == proportion(sum(one.correct for one in predictions), 12)
    assert cell.latency_seconds > 0
    assert cell.seconds_per_answer > 0


def test_the_files_hold_what_was_found(recipe_path: Path) -> None:
    found = run(recipe_path)
    assert read_baseline(found.directory) == found.baseline
    assert record_of(Gap, json.loads(found.gap_path.read_text())) == found.gap
    assert (found.gap.model, found.gap.prompt) == (found.baseline.best_model, found.baseline.best_prompt)
    values = json.loads(found.baseline_path.read_text())
    assert values["finished"]
    assert list(values["cells"][0]["metrics"]["exact_match"]) == ["value", "low", "high", "n"]
    assert sorted(written(found)) == [
        cell.predictions for cell in sorted(found.baseline.cells, key=lambda c: c.predictions)
    ]


def test_a_second_call_computes_nothing(recipe_path: Path) -> None:
    first = run(recipe_path)
    files = written(first)
    second = run(recipe_path, "evaluate.generation.batch_size=5", "baseline.limit=12")
    assert second.baseline == first.baseline
    assert written(second) == files


def test_only_what_changed_is_computed_again(recipe_path: Path) -> None:
    first = run(recipe_path)
    more = run(recipe_path, "baseline.shots=[0,2,3]")
    assert more.baseline.cells[:2] == first.baseline.cells
    times = seconds(more)
    other = run(recipe_path, "baseline.shots=[0,2,3]", "baseline.seed=1")
    assert seconds(other)["zero-shot"] == times["zero-shot"]
    assert seconds(other)["2-shot random"] != times["2-shot random"]
    assert other.baseline.cells[1].shot_rows != more.baseline.cells[1].shot_rows
    shorter = run(recipe_path, "evaluate.generation.max_new_tokens=2")
    assert seconds(shorter)["zero-shot"] != times["zero-shot"]
    assert all(
        one.num_tokens <= 2 for one in read_predictions(shorter.directory / shorter.baseline.cells[0].predictions)
    )


def test_a_changed_row_a_changed_file_and_a_changed_function_are_noticed(recipe_path: Path) -> None:
    metric = recipe_path.parent / "own.py"
    metric.write_text("def half(answer, expected, row):\n    return 0.5\n")
    settings = f"evaluate.metrics=[{metric}:half]"
    first = run(recipe_path, settings)
    assert first.baseline.cells[0].metrics[first.baseline.primary].value == 0.5
    metric.write_text("def half(answer, expected, row):\n    return 0.25\n")
    second = run(recipe_path, settings)
    assert second.baseline.cells[0].metrics[second.baseline.primary].value == 0.25
    damaged = second.directory / second.baseline.cells[1].predictions
    damaged.write_text(damaged.read_text().replace("0.25", "0.75"))
    third = run(recipe_path, settings)
    assert third.baseline.cells[0] == second.baseline.cells[0]
    assert seconds(third)["2-shot random"] != seconds(second)["2-shot random"]
    assert third.baseline.cells[1].metrics == second.baseline.cells[1].metrics
    test = recipe_path.parent / "test.jsonl"
    test.write_text(test.read_text().replace("thing 103 ", "thing 203 "))
    fourth = run(recipe_path, settings)
    assert not set(seconds(fourth).items()) & set(seconds(third).items())


def test_a_baseline_by_other_settings_goes_beside_that_of_the_run_and_takes_its_answers_over(recipe_path: Path) -> None:
    own = run(recipe_path)
    write_resolved(load_recipe(recipe_path), own.directory / "recipe.yaml")
    written = own.baseline_path.read_bytes(), own.gap_path.read_bytes()
    fewer, other = run(recipe_path, "baseline.limit=5"), run(recipe_path, "verdict.target=0.9")
    assert fewer.directory.parent == other.directory.parent == own.directory
    assert (fewer.baseline.num_rows, other.baseline.target) == (5, 0.9)
    assert (own.baseline_path.read_bytes(), own.gap_path.read_bytes()) == written
    assert other.baseline.cells == own.baseline.cells  # with the times: nothing was answered again
    assert read_baseline(other.directory) == other.baseline
    assert len(read_predictions(other.directory / other.baseline.best.predictions)) == 12
    assert run(recipe_path).directory == own.directory


class Interrupting(io.StringIO):
    """A terminal at which somebody presses Ctrl-C when a text appears."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def write(self, text: str) -> int:
        if self._text in text:
            raise KeyboardInterrupt
        return super().write(text)


def test_an_interrupted_call_goes_on_from_the_last_cell(recipe_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(recipe_path, console=Console(file=Interrupting("2-shot random: 12 rows"), width=200))
    directory = recipe_path.parent / "run"
    with pytest.raises(RunError, match="not finished"):
        read_baseline(directory)
    (cell,) = json.loads((directory / "baseline.json").read_text())["cells"]
    found = run(recipe_path)
    assert found.baseline.cells[0].seconds_per_answer == cell["seconds_per_answer"]
    assert len(found.baseline.cells) == 2


def test_a_damaged_file_is_named(recipe_path: Path) -> None:
    found = run(recipe_path)
    found.baseline_path.write_text('{"finished": true, "cells": [{}]}')
    with pytest.raises(RunError, match=r"baseline\.json is damaged"):
        run(recipe_path)


def test_the_limit_draws_rows_by_seed_and_all_prompts_get_the_same(recipe_path: Path) -> None:
    drawn = {}
    for seed in (0, 1):
        found = run(recipe_path, "baseline.limit=5", f"baseline.seed={seed}")
        rows = [[p.row_id for p in read_predictions(found.directory / c.predictions)] for c in found.baseline.cells]
        assert rows[0] == rows[1]
        assert found.baseline.num_rows == 5
        drawn[seed] = rows[0]
    assert drawn[0] != drawn[1]
    assert drawn[0] != [f"test.jsonl:{number}" for number in range(1, 6)]


@pytest.mark.parametrize("selection", ["per_class", "nearest"])
def test_other_selections(recipe_path: Path, selection: str) -> None:
    found = run(recipe_path, f"baseline.selection={selection}", "baseline.shots=[3]", "baseline.limit=4")
    (cell,) = found.baseline.cells
    predictions = read_predictions(found.directory / cell.predictions)
    prompts = {tuple(turn["content"] for turn in one.messages[:-1]) for one in predictions}
    assert cell.prompt == f"3-shot {selection}"
    assert all(len(prompt) == 6 for prompt in prompts)
    if selection == "per_class":
        (prompt,) = prompts
        assert set(prompt[1::2]) == set(COLOURS)
        assert len(cell.shot_rows) == 3
    else:
        assert cell.shot_rows == ()
        for one in predictions:
            kind = one.messages[-1]["content"].split()[-1]
            assert all(turn["content"].endswith(kind) for turn in one.messages[:-1] if turn["role"] == "user")
    assert found.baseline.candidates[0].gain is None  # zero-shot was not asked


def test_several_selections_and_numbers(recipe_path: Path) -> None:
    both = run(recipe_path, "baseline.selection=[random,nearest]", "baseline.shots=[2,0,1]", "baseline.limit=3")
    assert [cell.prompt for cell in both.baseline.cells] == [
        "zero-shot", "1-shot random", "1-shot nearest", "2-shot random", "2-shot nearest",
    ]  # fmt: skip
    assert "baseline.selection: nearest" not in said(both.baseline.advice)
    random = run(recipe_path, "baseline.limit=3")
    assert random.baseline.cells == (both.baseline.cells[0], both.baseline.cells[3])
    assert "baseline.selection: nearest" in said(random.baseline.advice)


@pytest.fixture
def larger_dir(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    """Another model with more layers and other weights."""
    from transformers import AutoConfig

    directory = tmp_path / "larger"
    shutil.copytree(tiny_llama_dir, directory)
    (directory / "model.safetensors").unlink()
    config = AutoConfig.from_pretrained(tiny_llama_dir)
    config.num_hidden_layers, config.max_position_embeddings = 3, 600
    with torch.random.fork_rng():
        torch.manual_seed(5)
        AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    return directory


def test_several_models(recipe_path: Path, tiny_llama_dir: Path, larger_dir: Path) -> None:
    names = json.dumps([str(tiny_llama_dir), str(larger_dir)])
    found = run(recipe_path, f"baseline.models={names}")
    baseline = found.baseline
    assert [(cell.model, cell.prompt) for cell in baseline.cells] == [
        (str(directory), prompt)
        for directory in (tiny_llama_dir, larger_dir)
        for prompt in ("zero-shot", "2-shot random")
    ]
    assert len({cell.predictions for cell in baseline.cells}) == 4
    assert [cell.cost.context for cell in baseline.cells] == [512, 512, 600, 600]
    for candidate in baseline.candidates:
        grades = {}
        for cell in baseline.cells:
            if cell.model == candidate.model:
                grades[cell.prompt] = [
                    p.grades["exact_match"] for p in read_predictions(found.directory / cell.predictions)
                ]
        if candidate.best == "zero-shot":
            assert candidate.gain is None
        else:
            assert candidate.gain == paired_difference(grades["zero-shot"], grades[candidate.best])
    alone = run(recipe_path)
    assert alone.baseline.cells == baseline.cells[:2]


def test_what_cannot_be_done_is_refused_before_anything_is_answered(recipe_path: Path, tiny_llama_dir: Path) -> None:
    with pytest.raises(RecipeError, match="no test rows"):
        run(recipe_path, "data.test=null")
    with pytest.raises(DataError, match=r"30 examples.*24 rows"):
        run(recipe_path, "baseline.shots=[0,30]")
    with pytest.raises(RenderingError, match=r"24-shot prompt.*512 tokens"):
        run(recipe_path, "baseline.shots=[0,24]")
    with pytest.raises(ModelError, match="smollm2-135n"):
        run(recipe_path, f"baseline.models={json.dumps([str(tiny_llama_dir), 'smollm2-135n'])}")
    with pytest.raises(RecipeError, match="twice"):
        run(recipe_path, "baseline.shots=[2,2]")
    assert not list((recipe_path.parent / "run").glob("predictions-*"))


def test_examples_that_nobody_asked_for_are_left_out_where_they_do_not_fit(recipe_path: Path) -> None:
    recipe, told = load_recipe(recipe_path, ["evaluate.generation.max_new_tokens=400", "baseline.limit=1"]), []
    default = BaselineConfig(limit=1)
    found = run_baseline(recipe.model_copy(update={"baseline": default}), console=QUIET, tell=told.append)
    assert [cell.prompt for cell in found.baseline.cells] == ["zero-shot"]
    (line,) = (line for line in told if "8 examples" in line)
    assert "do not fit into the context" in line


def test_a_person_sees_scores_costs_gain_and_advice(recipe_path: Path) -> None:
    baseline = run(recipe_path).baseline
    for width in (60, 100):
        text = shown(baseline, width)
        assert all(len(line) <= width for line in text.splitlines())
        words = " ".join(text.split())
        for piece in (
            "12 test rows",
            "target 50.0%",
            "zero-shot",
            "2-shot random",
            "exact_match",
            "macro_f1",
            "Advice:",
        ):
            assert piece in words


def shown(baseline: Baseline, width: int) -> str:
    stream = io.StringIO()
    print_baseline(baseline, Console(file=stream, width=width))
    return stream.getvalue()


def contender(name: str, right: int, n: int, *, size: int = 100, rewritten: int = 0) -> Contender:
    grades = tuple([1.0] * right + [0.0] * (n - right))
    return Contender(name, "8-shot random", proportion(right, n), grades, size * 1_000_000, rewritten)


def said(advice: Advice) -> str:
    return " ".join(reason.en for reason in advice.reasons)


def test_the_best_of_many_prompts_suffices_only_by_an_interval_that_holds_for_all_of_them() -> None:
    """Exactly at the target, 12 independent prompts: the best one's own interval is above in 1 - (1 - a)^12 of all
    studies, the corrected one in no more than 2.5 %; both summed over the distribution of the best."""
    rows, target, num = 200, 0.8, 12
    chance = {"alone": 0.0, "corrected": 0.0}
    best_is = np.diff(stats.binom.cdf(np.arange(-1, rows + 1), rows, target) ** num)
    for right in range(rows + 1):
        one = contender("m", right, rows)
        corrected = proportion(right, rows, confidence=simultaneous(num))
        for name, asked in (("alone", one), ("corrected", replace(one, corrected=corrected, num_tried=num))):
            if advise([asked], target).decision == "prompting suffices":
                chance[name] += float(best_is[right])
    assert chance["alone"] > 0.1
    assert chance["corrected"] <= 0.025


def test_the_correction_for_the_choice_is_said_with_its_number() -> None:
    one = contender("m", 172, 200)
    assert advise([one], 0.8).decision == "prompting suffices"
    chosen = replace(one, corrected=proportion(172, 200, confidence=simultaneous(12)), num_tried=12)
    undecided, enough = advise([chosen], 0.8), advise([chosen], 0.75)
    assert undecided.decision == "undecided"
    assert f"lower end, {chosen.sure.low:.1%} after correcting for the choice among 12 prompts, is below" in said(
        undecided
    )
    assert undecided.more_rows is not None
    assert undecided.more_rows > 100
    assert "after correcting for the choice among 12 prompts, is not below the target" in said(enough)


def test_the_advice_on_several_prompts_is_corrected(recipe_path: Path) -> None:
    """Twelve rows, all right with either prompt, as an own metric says: 95 % intervals reach down to 75.8 %."""
    (recipe_path.parent / "own.py").write_text("def right(answer, expected, row):\n    return 1\n")
    settings = [f"evaluate.metrics=[{recipe_path.parent}/own.py:right]", "verdict.target=0.73"]
    low = proportion(12, 12, confidence=simultaneous(2)).low
    assert low < 0.73 < proportion(12, 12).low
    assert run(recipe_path, *settings, "baseline.shots=[0]").baseline.advice.decision == "prompting suffices"
    assert run(recipe_path, *settings).baseline.advice.decision == "undecided"


def test_advice_at_the_borders_of_the_interval() -> None:
    one = contender("m", 70, 100)
    below, above = one.score.low, one.score.high
    assert advise([one], below).decision == "prompting suffices"
    assert advise([one], below + 1e-9).decision == "undecided"
    assert advise([one], above).decision == "undecided"
    assert advise([one], above + 1e-9).decision == "tune"
    assert advise([contender("m", 0, 20)], 0.0).decision == "prompting suffices"
    assert advise([contender("m", 20, 20)], 1.0).decision == "undecided"


def test_without_a_target_nothing_is_decided() -> None:
    advice = advise([contender("m", 7, 10)], None)
    assert (advice.decision, advice.more_rows) == ("undecided", None)
    assert "verdict.target" in said(advice)


def test_undecided_says_how_many_more_rows_would_decide() -> None:
    one = contender("m", 70, 100)
    advice = advise([one], 0.75)
    assert advice.more_rows is not None
    assert f"{advice.more_rows:,} more test rows" in said(advice)
    n = 100 + advice.more_rows
    decided = sum(stats.binom.pmf(right, n, 0.7) for right in range(n + 1) if proportion(right, n).high < 0.75)
    assert decided == pytest.approx(0.8, abs=0.04)
    exact = advise([contender("m", 75, 100)], 0.75)
    assert exact.more_rows is None
    assert "no number of rows" in said(exact)


def test_the_smallest_model_that_reaches_the_target_is_advised() -> None:
    advice = advise([contender("big", 95, 100, size=900), contender("small", 92, 100, size=100)], 0.8)
    assert (advice.decision, advice.model) == ("prompting suffices", "small")
    assert "big scores higher" in said(advice)
    assert advise([contender("big", 95, 100, size=900), contender("small", 81, 100)], 0.8).model == "big"


def test_the_model_to_tune_is_the_best_or_a_smaller_one_that_is_not_surely_worse() -> None:
    near = advise([contender("big", 30, 100, size=900), contender("small", 28, 100, size=100)], 0.8)
    assert (near.decision, near.model) == ("tune", "small")
    assert "900 M" in said(near)
    far = advise([contender("big", 50, 100, size=900), contender("small", 28, 100, size=100)], 0.8)
    assert (far.decision, far.model) == ("tune", "big")
    assert "surely worse" in said(far)
    smallest = advise([contender("big", 28, 100, size=900), contender("small", 50, 100, size=100)], 0.8)
    assert (smallest.model, "none is smaller" in said(smallest)) == ("small", True)
    floor = advise([contender("big", 0, 100, size=900), contender("small", 0, 100, size=100)], 0.8)
    assert floor.model == "small"
    assert "single row right" in said(floor)


def test_answers_that_are_only_worded_otherwise_are_a_reason_not_to_tune_yet() -> None:
    assert "before tuning" in said(advise([contender("m", 10, 100, rewritten=75)], 0.8))
    assert "before tuning" not in said(advise([contender("m", 10, 100, rewritten=60)], 0.8))
    assert "before tuning" not in said(advise([contender("m", 82, 100)], 0.8))


def test_graded_scores_are_decided_by_their_bootstrap_interval() -> None:
    grades = tuple(0.4 + 0.2 * (i % 5) / 4 for i in range(50))
    one = replace(contender("m", 0, 50), score=mean(grades), grades=grades)
    assert advise([one], 0.4).decision == "prompting suffices"
    assert advise([one], 0.6).decision == "tune"
    assert advise([one], one.score.value).decision == "undecided"


@pytest.mark.parametrize("target", [None, 0.1, 0.7, 0.99])
def test_advice_survives_json_and_speaks_chinese(target: float | None) -> None:
    advice = advise([contender("m", 70, 100)], target)
    assert record_of(Advice, json.loads(json_text(advice))) == advice
    assert all(any("\u4e00" <= character <= "\u9fff" for character in reason.zh) for reason in advice.reasons)
