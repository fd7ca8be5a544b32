"""`weitiao baseline` as a person types it, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workbench import weitiao, write_recipe

from weitiao.cli.first import baseline
from weitiao.errors import WeitiaoError


@pytest.fixture
def recipe(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    return write_recipe(
        tmp_path, tiny_llama_dir, data={"test": 0.25}, verdict={"target": 0.6},
        evaluate={"generation": {"max_new_tokens": 5}},
    )  # fmt: skip


def test_json_is_one_object_that_the_files_repeat(recipe: Path, tiny_llama_dir: Path) -> None:
    done = weitiao("baseline", recipe, "--models", tiny_llama_dir, "--shots", "0,2", "--limit", "6", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    run = recipe.parent / "run"
    assert printed == {
        **{k: v for k, v in json.loads((run / "baseline.json").read_text()).items() if k != "finished"},
        "gap": json.loads((run / "gap.json").read_text()),
    }
    assert [cell["prompt"] for cell in printed["cells"]] == ["zero-shot", "2-shot random"]
    assert (printed["num_rows"], printed["primary"], printed["target"]) == (6, "exact_match", 0.6)
    assert printed["advice"]["decision"] in ("tune", "prompting suffices", "undecided")
    for cell in printed["cells"]:
        assert len((run / cell["predictions"]).read_text().splitlines()) == 6
    for noise in ("Warning", "Loading weights", "Traceback"):
        assert noise not in done.stderr


def test_a_person_reads_tables_on_stdout_and_what_to_do_next_on_stderr(recipe: Path) -> None:
    done = weitiao("baseline", recipe, "baseline.shots=[0,2]", "--limit", "6")
    assert done.returncode == 0, done.stderr
    for piece in ("Baseline: 6 test rows", "zero-shot", "2-shot random", "Advice:", "falls short"):
        assert piece in done.stdout
    assert "baseline.json" in done.stderr
    assert "weitiao train" in done.stderr
    again = weitiao("baseline", recipe, "baseline.shots=[0,2]", "--limit", "6")
    assert again.stdout == done.stdout  # the times as well: nothing was computed again
    assert again.stderr.count("answered before") == 2


def test_wrong_input_exits_2_and_says_what_to_do(recipe: Path) -> None:
    done = weitiao("baseline", recipe, "--shots", "0,many")
    assert (done.returncode, done.stdout) == (2, "")
    assert "baseline.shots" in done.stderr
    assert "Remedy:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "overrides", "message"),
    [
        ({"models": "smollm2-135n"}, [], "smollm2-135m"),
        ({"shots": "0,29"}, [], r"29.*(can be shown|do not fit)"),
        ({"shots": "-1"}, [], r"baseline\.shots"),
        ({}, ["baseline.selection=closest"], r"baseline\.selection"),
        ({}, ["baseline.shot=2"], "Did you mean `shots`"),
        ({}, ["data.test=null"], r"data\.test"),
        ({}, ["evaluate.metrics=[perplexity]"], "perplexity"),
    ],
)
def test_what_is_wrong_is_named(recipe: Path, options: dict[str, str], overrides: list[str], message: str) -> None:
    with pytest.raises(WeitiaoError, match=message):
        baseline(recipe, overrides, **options)  # type: ignore[arg-type]
