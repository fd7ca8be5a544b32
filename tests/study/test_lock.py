"""One process at a time writes into a run directory; whoever only reads it is free."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console
from workbench import evaluate_target, write_recipe

from weitiao.errors import RunError
from weitiao.export.merge import merge
from weitiao.recipe import load_recipe
from weitiao.report.render import write_report
from weitiao.study.baseline.run import run_baseline
from weitiao.study.compare.run import compare_targets
from weitiao.study.retention import retention_target
from weitiao.study.train import train
from weitiao.study.why import rows_behind


@pytest.fixture(scope="module")
def run(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = write_recipe(
        tmp_path_factory.mktemp("locked"),
        tiny_llama_dir,
        data={"test": 0.1},
        train={"max_steps": 1},
        evaluate={"generation": {"max_new_tokens": 2}},
    )
    return train(load_recipe(recipe)).path


WRITERS: dict[str, Callable[[Path], object]] = {
    "train": lambda run: train(load_recipe(run)),
    "eval": evaluate_target,
    "eval --output inside": lambda run: evaluate_target(run, output=run / "more"),
    "baseline": lambda run: run_baseline(load_recipe(run)),
    "retention": lambda run: retention_target(str(run)),
    "compare": lambda run: compare_targets(f"base:{run}", str(run), output=run.parent / "elsewhere"),
    "report": write_report,
}


@pytest.mark.parametrize("verb", WRITERS)
def test_a_verb_that_writes_is_refused(verb: str, run: Path) -> None:
    before = sorted(run.rglob("*"))
    with FileLock(run / ".lock"), pytest.raises(RunError, match="is in use by another process"):
        WRITERS[verb](run)
    assert sorted(run.rglob("*")) == before


def test_readers_are_free(run: Path, tmp_path: Path) -> None:
    with FileLock(run / ".lock"):
        assert rows_behind(run, 1, num=2)
        assert write_report(run, output=tmp_path / "page.html").is_file()
        assert merge(run, tmp_path / "merged").path.is_dir()
        scored = evaluate_target(run, output=tmp_path / "scores", console=Console(quiet=True))
        assert scored.scores_path.is_file()


def test_the_lock_is_taken_again_by_another_name_for_the_same_place(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weitiao.runs.run_dir import RunDir

    monkeypatch.chdir(run.parent)
    with RunDir(run).locked():
        assert write_report(Path(run.name)).is_file()
