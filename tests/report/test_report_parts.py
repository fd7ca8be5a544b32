"""Run directories that are not whole: every section says what is missing and how to get it; nothing old is shown."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from html_page import Element, Page
from sample_run import (
    METRICS,
    predictions,
    write_baseline_files,
    write_check,
    write_recipe,
    write_records,
    write_run,
    write_training,
)

from weitiao.errors import RunError
from weitiao.evaluation.scores import score, write_scores
from weitiao.report.render import render_report
from weitiao.runs.belonging import made_of
from weitiao.runs.record import Stop, read_records
from weitiao.study.verdict import verdict_of
from weitiao.verdict.verdict import write_verdict

LEFT_BY = {
    "check": ["data-check.json"],
    "baseline": ["baseline.json", "gap.json"],
    "retention-before": ["retention-before.json"],
    "train": ["metrics.jsonl"],
    "eval": ["scores.json", "predictions.jsonl"],
    "retention-after": ["retention-after.json"],
    "compare": ["comparison.json", "gap-tuned.json"],
    "verdict": ["verdict.json"],
}


def missing(page: Page) -> list[Element]:
    return [element for element in page.elements if "missing" in element.attributes.get("class", "").split()]


def section(html: str, name: str) -> str:
    return html.split(f'<section id="{name}"')[1].partition("</section>")[0]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_recipe_alone_makes_a_page(tmp_path: Path, language: str) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    write_recipe(run / "recipe.yaml")
    page = Page(render_report(run, language=language))
    assert len(missing(page)) >= 7
    commands = [child.text for note in missing(page) for child in note.children if child.tag == "code"]
    assert set(commands) == {f"weitiao run '{run}'"}


@pytest.mark.parametrize("step", list(LEFT_BY))
def test_without_the_files_of_any_one_step_the_rest_is_shown(whole_run: Path, tmp_path: Path, step: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    for name in LEFT_BY[step]:
        (run / name).unlink()
    (run / "steps.json").unlink()
    page = Page(render_report(run))
    if step == "verdict":
        assert "No verdict yet" in page.text
    else:
        assert missing(page)


@pytest.mark.parametrize("steps", range(len(LEFT_BY)))
def test_a_run_is_shown_after_every_step(whole_run: Path, tmp_path: Path, steps: int) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    for step in list(LEFT_BY)[steps:]:
        for name in LEFT_BY[step]:
            (run / name).unlink()
    (run / "steps.json").unlink()
    write_records(run)
    page = Page(render_report(run))
    assert "No verdict yet" in page.text
    assert bool(missing(page)) == (steps < len(LEFT_BY) - 1)  # without the verdict alone every section is there


def test_skipped_steps_are_called_skipped(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    write_records(run, skipped=("retention-before", "retention-after"))
    html = render_report(run)
    assert "Skipped by --skip: retention before, retention after." in Page(html).text
    assert "was skipped" in section(html, "retention")
    assert "general knowledge" not in section(html, "retention")


def test_what_belongs_to_an_earlier_state_is_not_shown(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    records = read_records(run)
    records.steps["train"] = replace(records.steps["train"], outputs={"final": "b" * 64}, key="another")
    records.save()
    html = render_report(run)
    assert "No verdict yet" in Page(html).text
    score = json.loads((run / "scores.json").read_text())["metrics"]["exact_match"]["value"]
    assert f"{score:.1%}" not in section(html, "scores")
    assert "earlier state" in section(html, "scores")
    assert "8-shot" in section(html, "scores")  # the baseline does not depend on the training


def test_scores_that_were_replaced_are_not_shown_beside_the_verdict_of_others(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    few = predictions(0.6, rows=10, seed=9)
    write_scores(run, score(few, METRICS, seconds=1.0), few)
    html = render_report(run)
    value = json.loads((run / "scores.json").read_text())["metrics"]["exact_match"]["value"]
    assert f"{value:.1%}" not in section(html, "scores")
    assert "n = 10" not in html
    assert "made of other weights, rows or settings" in section(html, "scores")
    assert "Ship" in Page(html).text  # the verdict is of the rows that it was decided on
    same = predictions(0.93, seed=9)
    write_scores(run, score(same, METRICS, seconds=77.0), same)  # the very same answers, written again
    assert "made of other weights" not in section(render_report(run), "scores")


def test_a_verdict_belongs_to_its_comparison_and_its_weights(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    whole = verdict_of(run)
    assert verdict_of(run).decision == "ship"
    write_verdict(run, whole, of=made_of(run, "comparison.json"))
    records = write_records(run)
    (run / "comparison.json").write_text((run / "comparison.json").read_text().replace(" ", "  ", 1))
    with pytest.raises(RunError, match=r"do(es)? not belong .* are others now"):
        verdict_of(run)
    assert "No verdict yet" in Page(render_report(run)).text
    records.steps["eval"] = replace(records.steps["eval"], outputs={"scores.json": "b" * 64})
    records.save()
    with pytest.raises(RunError, match="has changed since"):
        verdict_of(run)


def test_a_training_under_way_shows_its_curve_so_far(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.yaml")
    write_training(tmp_path, steps=40)
    records = write_records(tmp_path)
    records.steps["train"] = replace(records.steps["train"], state="started")
    records.save()
    html = section(render_report(tmp_path), "training")
    assert "has not ended" in html
    assert 'class="train"' in html


def test_one_step_and_no_validation_make_a_curve(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.yaml")
    write_training(tmp_path, steps=1)
    assert 'class="train mark"' in section(render_report(tmp_path), "training")


def test_the_loss_of_each_source_is_shown_with_its_share(tmp_path: Path) -> None:
    """Means over the first and the last 20 steps that have rows of the source, by weight, as counted by hand here."""
    write_recipe(tmp_path / "recipe.yaml")
    write_training(tmp_path, steps=60)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if "loss" in line:
            line["sources"] = {"a<b>.jsonl": {"loss": 2.0 if line["step"] <= 30 else 0.5, "weight": 15.0}}
        if "loss" in line and line["step"] % 2:
            line["sources"]["replay"] = {"loss": 1.0 + line["step"] / 100, "weight": 5.0}
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = " ".join(Page(section(render_report(tmp_path), "training")).text.split())
    assert "Loss on a<b>.jsonl2 → 0.5, first and last steps; 85.7%" in text
    # replay: steps 1, 3 ... 39 and 21, 23 ... 59; 30 x 5 of 30 x 5 + 60 x 15
    assert "Loss on replay1.2 → 1.4, first and last steps; 14.3%" in text


def test_errors_in_the_data_are_what_the_page_opens_with(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.yaml")
    write_check(tmp_path)
    records = write_records(tmp_path)
    records.stop = Stop("check", "findings", "text")
    records.save()
    page = Page(render_report(tmp_path))
    assert "Stopped: errors in the data" in page.text
    assert "errors in 3 rows" in page.text
    assert "train.csv:40 = test.csv:40" in page.text
    assert page.all("section")[0].attributes["id"] == "data"


def test_files_are_called_by_names_that_tell_them_apart(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.yaml")
    write_check(tmp_path)
    path = tmp_path / "data-check.json"
    text = path.read_text().replace("train.csv", "/data/mine/rows.csv").replace("test.csv", "/data/theirs/rows.csv")
    path.write_text(text)
    html = section(render_report(tmp_path), "data")
    assert "mine/rows.csv:40 = theirs/rows.csv:40" in html
    assert "the input stands in theirs/rows.csv" in html
    assert "/data/" not in html


@pytest.mark.parametrize(("language", "word"), [("en", "Prompting suffices"), ("zh", "用提示词即可")])
def test_advice_against_tuning_is_given_with_its_numbers(tmp_path: Path, language: str, word: str) -> None:
    write_recipe(tmp_path / "recipe.yaml")
    write_baseline_files(tmp_path, target=0.2)
    records = write_records(tmp_path)
    records.stop = Stop("baseline", "advice", "text")
    records.save()
    page = Page(render_report(tmp_path, language=language))
    advice = json.loads((tmp_path / "baseline.json").read_text())["advice"]
    assert advice["decision"] == "prompting suffices"
    assert word in page.text
    assert advice["reasons"][0][language] in page.text


@pytest.mark.parametrize(
    ("share", "drop", "word"), [(0.93, 0.0, "Ship"), (0.3, 0.0, "Do not ship"), (0.93, 0.6, "Do not ship")]
)
def test_the_verdict_is_the_one_of_the_file(tmp_path: Path, share: float, drop: float, word: str) -> None:
    run = write_run(tmp_path / "run", share_right=share, drop=drop)
    page = Page(render_report(run))
    (heading,) = [element for element in page.elements if element.attributes.get("class") == "word"]
    assert heading.text == word
    if drop:
        assert "It forgot more than is tolerated" in page.text


def test_examples_are_those_that_changed(whole_run: Path) -> None:
    html = section(render_report(whole_run), "examples")
    comparison = json.loads((whole_run / "comparison.json").read_text())
    for change in (*comparison["better"][:6], *comparison["worse"][:6]):
        assert change["row_id"] in html
    before = {one.row_id for one in predictions(0.52, seed=8) if one.correct}
    after = {one.row_id for one in predictions(0.93, seed=9) if one.correct}
    still = html.split("Stayed wrong")[1]
    shown = [row for row in (f"test.csv:{number}" for number in range(2, 242)) if f">{row}<" in still]
    assert shown
    assert not {*shown} & {*before, *after}


def test_what_is_no_run_and_what_is_damaged_are_errors(whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no recipe\.yaml"):
        render_report(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    (run / "baseline.json").write_text("{")
    with pytest.raises(RunError, match=r"baseline\.json is damaged"):
        render_report(run)
