"""What a recipe says of exports: planned, done by `weitiao run`, judged and shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from export.conftest import make_run
from workbench import weitiao, write_recipe

from weitiao.report.render import render_report
from weitiao.study.pipeline.result import PipelineResult
from weitiao.study.pipeline.steps import STEPS
from weitiao.verdict.exported import Exported, Exports, read_exports
from weitiao.verdict.verdict import Verdict


def test_the_step_exports_once_more_only_what_is_not_there(tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_llama_dir)
    settings = ["export.formats=[adapter]", "export.largest_loss=0.9"]
    skipped = [f"--skip={step}" for step in ("check", "baseline", "retention-before", "retention-after", "eval")]
    done = weitiao("run", run, *settings, *skipped, "--json")
    assert done.returncode == 4, done.stderr  # there is no verdict on the training
    (adapter,) = read_exports(run).models
    assert (adapter.outcome, adapter.path) == ("good", run / "export" / "adapter")
    page = render_report(run)
    assert 'id="export"' in page and "adapter" in page
    before = (adapter.path / "adapter_model.safetensors").stat().st_mtime_ns
    again = weitiao("run", run, *settings, *skipped)
    assert "nothing to do: adapter good" in again.stderr
    assert (adapter.path / "adapter_model.safetensors").stat().st_mtime_ns == before
    (adapter.path / "adapter_model.safetensors").unlink()
    weitiao("run", run, *settings, *skipped)
    assert (adapter.path / "adapter_model.safetensors").is_file()


def test_the_plan_warns_of_a_base_that_cannot_be_exported(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, export={"formats": ["gguf-q8_0"]})
    done = weitiao("plan", recipe)
    assert done.returncode == 0
    assert "cannot be exported" in done.stderr and "does not know how this tokenizer cuts" in done.stderr
    done = weitiao("run", recipe, "data.test=0.2")
    assert done.returncode == 2  # before anything is trained
    assert "does not know how this tokenizer cuts" in done.stderr


@pytest.mark.parametrize(("outcome", "code"), [("good", 0), ("undecided", 4), ("worse", 3), ("refused", 3)])
def test_a_model_that_may_be_shipped_is_shipped_when_its_exports_are_good(outcome: str, code: int) -> None:
    one = Exported("gguf-q8_0", None, "", outcome, "")  # type: ignore[arg-type]
    exports = Exports("w", 0.02, 200, one, (one,))
    result = PipelineResult(Path("run"), (), Verdict("ship", ()), None, None, True, exports=exports)
    assert result.exit_code == code
    kept = PipelineResult(Path("run"), (), Verdict("do not ship", ()), None, None, True, exports=exports)
    assert kept.exit_code == 3


def test_the_export_step_depends_on_the_training_and_the_report_on_it() -> None:
    by_name = {step.name: step for step in STEPS}
    assert by_name["export"].needs == ("train",)
    assert "export" in by_name["report"].uses
