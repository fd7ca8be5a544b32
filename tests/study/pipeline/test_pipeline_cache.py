"""What is redone and what is not: the real steps with toy actions, on a real recipe, real files and real keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from filelock import FileLock
from pydantic import BaseModel
from rich.console import Console
from toy_steps import toy_steps, write_work
from workbench import write_rows

from weitiao.errors import RecipeError, RunError
from weitiao.recipe import Recipe, load_recipe
from weitiao.study.effects import CHANGEABLE, first_step
from weitiao.study.pipeline.result import PipelineResult
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.pipeline.steps import STEP_NAMES
from weitiao.study.retention import score_retention

AFTER_COMPARE = ["compare", "verdict", "report"]
AFTER_TRAIN = ["train", "eval", "retention-after", *AFTER_COMPARE]
ALL = [name for name in STEP_NAMES if name != "export"]  # the recipe names no format
REPORT = ["report"]

# Of every section: what a change of one of its settings makes necessary; then the settings that differ from it.
OF_SECTION = {
    "rendering": ALL,
    "method": AFTER_TRAIN,
    "objective": AFTER_TRAIN,
    "rollouts": REPORT,  # of objectives that learn from answers of the model
    "optimizer": AFTER_TRAIN,
    "train": AFTER_TRAIN,
    "evaluate": ["baseline", "eval", *AFTER_COMPARE],
    "baseline": ["baseline", *AFTER_COMPARE],
    "retention": ["retention-before", "retention-after", *AFTER_COMPARE],
    "verdict": AFTER_COMPARE,
    "run": REPORT,
    "tournament": REPORT,
    "export": REPORT,
}
OF_SETTING = {
    "verdict.target": ["baseline", *AFTER_COMPARE],
    "retention.token_budget": REPORT,
    "export.formats": ["export", *REPORT],  # without any there is no such step
    "retention.suite": AFTER_COMPARE,  # nothing is left to be kept
    **{name: REPORT for name in CHANGEABLE if name.startswith("train.")},
    "train.token_budget": [],  # a training fills it in, so it is another one in the run directory
}
OF_OTHER_RECIPES = ("retention.suite", "export.largest_loss", "export.rows")  # without a suite, with formats
VALUES: dict[str, Any] = {
    "rendering.template": "alpaca", "rendering.train_on_prompt": True, "rendering.turns": "last",
    "rendering.max_length": 100, "rendering.on_long": "error", "rendering.date": "2025-01-02",
    "method.r": 2, "method.alpha": 3.0, "method.dropout": 0.1, "method.target_modules": ["q_proj"],
    "method.rank_pattern": {"q_proj": 2}, "method.alpha_pattern": {"q_proj": 2.0}, "method.plus_ratio": 4.0,
    "train.checkpointing": True, "train.neftune": 5.0, "train.precision": "bfloat16",
    "train.router": {"balance": 0.5},
    "method.start": "runs/other", "method.init": "olora", "method.modules_to_save": ["lm_head"],
    "method.target_parameters": ["experts.down_proj"], "method.expert_ranks": {"experts.0": 1},
    "method.trainable_token_indices": [3],
    "train.offload_activations": "disk",
    "method.bias": "all", "method.rslora": True, "method.dora": True, "method.fused": False,
    "optimizer.weight_decay": 0.1, "optimizer.betas": [0.8, 0.9], "optimizer.epsilon": 1e-4,
    "rollouts.rewards": ["exact_match"], "rollouts.prompts": 4, "rollouts.samples": 2, "rollouts.repeats": 3,
    "rollouts.engine": "http://127.0.0.1:8000",
    "rollouts.generation": {"max_new_tokens": 9},
    "train.epochs": 2.0, "train.max_steps": 5, "train.batch_size": 4, "train.token_budget": 999, "train.weigh": "rows",
    "train.share_prefixes": False, "train.learning_rate": 0.5, "train.schedule": "linear",
    "train.warmup": 0.5,
    "train.max_grad_norm": 2.0, "train.seed": 4, "train.validate_every": 2, "train.validate_answers": 2,
    "train.best_by": "metric", "train.patience": 3, "train.keep_best": False, "train.save_every": 7,
    "train.keep_checkpoints": 9, "train.trackers": ["tensorboard"], "train.threads": 3,
    "evaluate.metrics": ["contains"], "evaluate.generation": {"max_new_tokens": 9}, "evaluate.normalize": "casefold",
    "evaluate.limit": 5, "evaluate.benchmarks": ["arc_easy"], "evaluate.benchmark_path": "tasks",
    "evaluate.benchmark_limit": 3,
    "baseline.models": ["smollm2-135m"], "baseline.shots": [0, 1], "baseline.selection": "nearest", "baseline.seed": 2,
    "baseline.limit": 4,
    "retention.suite": "none", "retention.parts": ["text-zh"], "retention.limit": 1,
    "retention.token_budget": 77,
    "verdict.target": 0.5, "verdict.least_gain": 0.1, "verdict.largest_loss": 0.5, "verdict.largest_loss_nats": 0.5,
    "verdict.retention": "parts", "verdict.least_rows": 3,
    "tournament.methods": [{"method": {"type": "full"}}], "tournament.rates": [1.0], "tournament.rows": 5,
    "tournament.sample": 7, "tournament.rungs": 1, "tournament.cut": 4,
    "run.on_findings": "continue", "run.on_advice": "continue",
    "export.formats": ["merged"], "export.largest_loss": 0.1, "export.rows": 9,
}  # fmt: skip
ALSO = {"train.best_by": {"validate_answers": 2}}  # a setting that is not valid without another one
VARIANTS = {"method.type", "objective.type", "optimizer.type"}


def call(recipe: Recipe, **options: Any) -> tuple[list[str], PipelineResult]:
    done: list[str] = []
    result = run_pipeline(recipe, console=Console(quiet=True), steps=toy_steps(done), **options)
    return done, result


def changed(recipe: Recipe, name: str) -> Recipe:
    section, _, field = name.partition(".")
    values = recipe.model_dump(mode="json")
    assert values[section][field] != VALUES[name]
    values[section] |= {field: VALUES[name], **ALSO.get(name, {})}
    return Recipe.model_validate(values)


def settings() -> list[str]:
    found = []
    for section in OF_SECTION:
        annotation = Recipe.model_fields[section].annotation
        while not isinstance(annotation, type):  # of several kinds the first: the others are the user's own
            annotation = get_args(annotation)[0]
        assert issubclass(annotation, BaseModel)
        found += [f"{section}.{field}" for field in annotation.model_fields]
    return [name for name in found if name not in VARIANTS]


def test_every_section_is_covered() -> None:
    # `feedback` gives other rows, see tests/study/test_stages.py
    assert set(Recipe.model_fields) == {*OF_SECTION, "model", "data", "feedback", "run_dir"}


def test_the_first_call_does_everything_and_the_second_nothing(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    done, result = call(recipe)
    assert done == ALL
    assert [step.state for step in result.steps] == ["done"] * len(ALL)
    before = {path: path.stat().st_mtime_ns for path in result.path.rglob("*") if path.is_file()}
    done, result = call(recipe)
    assert done == []
    assert [step.state for step in result.steps] == ["unchanged"] * len(ALL)
    after = {path: path.stat().st_mtime_ns for path in result.path.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} <= {"steps.json", ".lock"}


@pytest.fixture(scope="module")
def finished(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The recipe of a run that is done; its run directory is there to be copied."""
    recipe = load_recipe(write_work(tmp_path_factory.mktemp("finished"), tiny_llama_dir))
    assert call(recipe)[0] == ALL
    return recipe


@pytest.mark.parametrize("name", settings())
def test_a_changed_setting_redoes_exactly_what_follows_from_it(finished: Recipe, tmp_path: Path, name: str) -> None:
    assert name in VALUES, f"{name} is new: say here what a change of it makes necessary"
    run = shutil.copytree(finished.run_dir, tmp_path / "run")
    recipe = finished.model_copy(update={"run_dir": run})
    other = changed(recipe, name)
    expected = OF_SETTING.get(name, OF_SECTION[name.partition(".")[0]])
    assert call(other)[0] == expected
    if name not in OF_OTHER_RECIPES and not name.startswith("rollouts."):
        assert (first_step(name) or "report") == (expected or REPORT)[0]
    assert call(other)[0] == []
    assert call(recipe)[0] == [step for step in expected if step != "export"]  # of which the recipe names no format


@pytest.mark.parametrize("setting", ["data.seed=5", "data.on_bad_rows=skip", "data.validation=0.2"])
def test_a_changed_setting_of_the_data_redoes_what_reads_rows(recipe_path: Path, setting: str) -> None:
    call(load_recipe(recipe_path))
    assert call(load_recipe(recipe_path, [setting]))[0] == ["check", "baseline", *AFTER_TRAIN]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("rows.jsonl", ["check", "baseline", *AFTER_TRAIN]),
        ("validation.jsonl", ["check", *AFTER_TRAIN]),
        ("test.jsonl", ["check", "baseline", "eval", *AFTER_COMPARE]),
    ],
)
def test_a_changed_file_redoes_exactly_what_reads_it(recipe_path: Path, file: str, expected: list[str]) -> None:
    recipe = load_recipe(recipe_path)
    call(recipe)
    path = recipe_path.parent / file
    if path.suffix == ".jsonl":
        write_rows(path, 10, start=500)
    else:
        path.write_text("another text\n")
    assert call(recipe)[0] == expected


def test_what_a_result_cost_is_kept_when_a_later_call_takes_it_over(recipe_path: Path) -> None:
    _, result = call(load_recipe(recipe_path))
    path = result.path / "steps.json"
    records = json.loads(path.read_text())
    for name in ("baseline", "eval"):
        records["steps"][name]["seconds"] = 100.0
    path.write_text(json.dumps(records))
    call(load_recipe(recipe_path, ["evaluate.limit=7"]))
    after = json.loads(path.read_text())["steps"]
    assert after["baseline"]["seconds"] == 100.0  # answers that are the same are not written again
    assert after["eval"]["seconds"] < 10


def test_redo_takes_nothing_over(recipe_path: Path) -> None:
    _, result = call(load_recipe(recipe_path))
    answers = result.path / "predictions-baseline-another.jsonl"
    answers.write_text("{}")
    call(load_recipe(recipe_path, ["baseline.seed=3"]))
    assert answers.exists()
    assert call(load_recipe(recipe_path, ["baseline.seed=3"]), redo=["baseline"])[0][0] == "baseline"
    assert not answers.exists()


def test_another_language_redoes_the_report(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    call(recipe)
    assert call(recipe, language="zh")[0] == REPORT
    assert call(recipe, language="zh")[0] == []


def test_another_model_redoes_everything(recipe_path: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    recipe = load_recipe(recipe_path)
    call(recipe)
    other = tmp_path / "other"
    shutil.copytree(tiny_llama_dir, other)
    same = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": str(other)})})
    assert call(same)[0] == REPORT  # the same weights in another place
    model = AutoModelForCausalLM.from_pretrained(other)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    model.save_pretrained(other)
    assert call(same)[0] == ALL


def test_a_changed_metric_function_redoes_what_it_grades(recipe_path: Path) -> None:
    function = recipe_path.parent / "my.py"
    function.write_text("def score(item):\n    return 1.0\n")
    recipe = load_recipe(recipe_path, [f"evaluate.metrics=['{function}:score']"])
    call(recipe)
    function.write_text("def score(item):\n    return 0.0\n")
    assert call(recipe)[0] == ["baseline", "eval", *AFTER_COMPARE]


def test_moved_data_and_a_moved_run_are_the_same_work(recipe_path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    call(recipe)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in tmp_path.glob("*.jsonl"):
        path.rename(elsewhere / path.name)
    shutil.copytree(tmp_path / "run", tmp_path / "moved")
    text = recipe_path.read_text().replace('"rows.jsonl"', f'"{elsewhere}/rows.jsonl"')
    for name in ("validation", "test"):
        text = text.replace(f'"{name}.jsonl"', f'"{elsewhere}/{name}.jsonl"')
    recipe_path.write_text(text)
    assert call(load_recipe(recipe_path, [f"run_dir={tmp_path / 'moved'}"]))[0] == REPORT


@pytest.mark.parametrize(
    "name", ["data-check.json", "baseline.json", "retention-before.json", "scores.json", "report.html"]
)
def test_a_lost_or_changed_output_is_made_again(recipe_path: Path, name: str) -> None:
    recipe = load_recipe(recipe_path)
    _, first = call(recipe)
    path = first.path / name
    content = path.read_bytes()
    step = next(one for one in toy_steps([]) if name in one.writes).name
    for spoil in (path.unlink, lambda: path.write_text("{}")):
        spoil()
        # the same output as before: nothing that follows has to be done again, but the report shows the new time
        assert call(recipe)[0] == list(dict.fromkeys([step, *REPORT]))
        assert path.read_bytes() == content or name == "report.html"


def test_redo_until_and_skip(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    done, result = call(recipe, until="baseline")
    assert done == ["check", "baseline"]
    assert [step.state for step in result.steps[2:]] == ["not reached"] * 7
    assert (result.exit_code, result.verdict, result.report) == (0, None, None)
    done, result = call(recipe, skip=["retention-before"])
    assert done == ["train", "eval", *AFTER_COMPARE]
    states = {step.name: step.state for step in result.steps}
    assert (states["retention-before"], states["retention-after"]) == ("skipped", "left out")
    assert call(recipe)[0] == ["retention-before", "retention-after", *AFTER_COMPARE]
    assert call(recipe, redo=["eval"])[0] == ["eval", *REPORT]
    assert call(recipe, skip=["retention-before"])[0] == AFTER_COMPARE
    assert call(recipe)[0] == AFTER_COMPARE  # what was skipped was not lost


def test_without_a_verdict_at_the_end_nothing_is_decided(recipe_path: Path) -> None:
    _, result = call(load_recipe(recipe_path), skip=["baseline"])
    assert [s.name for s in result.steps if s.state == "left out"] == ["compare", "verdict"]
    assert result.exit_code == 4


def test_an_unknown_step_and_a_recipe_without_test_rows_are_errors(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    with pytest.raises(RecipeError, match="no step `tune`"):
        call(recipe, until="tune")
    without = recipe.model_copy(update={"data": recipe.data.model_copy(update={"test": None})})
    with pytest.raises(RecipeError, match="no test rows"):
        call(without)


def test_a_run_directory_in_use_is_refused(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    assert recipe.run_dir is not None
    recipe.run_dir.mkdir()
    with FileLock(recipe.run_dir / ".lock"), pytest.raises(RunError, match="in use by another process"):
        call(recipe)


def test_a_step_that_fails_is_done_again_and_what_was_half_written_is_gone(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)

    for name in ALL:

        def fail(step: str, name: str = name) -> None:
            if step == name:
                raise RuntimeError(step)

        done: list[str] = []
        with pytest.raises(RuntimeError, match=name):
            run_pipeline(recipe, console=Console(quiet=True), steps=toy_steps(done, fail))
        assert done == ([] if name == ALL[0] else [ALL[ALL.index(name) - 1]])
        assert recipe.run_dir is not None
        records = json.loads((recipe.run_dir / "steps.json").read_text())["steps"]
        assert records[name]["state"] == "started"
        assert all(records[other]["state"] == "done" for other in ALL[: ALL.index(name)])
    assert call(recipe)[0] == ["report"]


def test_a_damaged_record_is_an_error_with_a_remedy(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    call(recipe)
    assert recipe.run_dir is not None
    (recipe.run_dir / "steps.json").write_text("[")
    with pytest.raises(RunError, match=r"steps\.json is damaged"):
        call(recipe)


def install(folder: Path, package: str) -> None:
    """Another version of a package, as far as its metadata says."""
    directory = folder / f"{package.replace('-', '_')}-99.0.dist-info"
    directory.mkdir(parents=True)
    (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.0\n")


@pytest.mark.parametrize(
    ("package", "settings", "expected"),
    [
        ("ftfy", [], ["check", *REPORT]),
        ("python-stdnum", [], ["check", *REPORT]),
        ("bm25s", ["baseline.selection=nearest"], ["baseline", *AFTER_COMPARE]),
        ("sacrebleu", ["evaluate.metrics=[bleu]"], ["baseline", "eval", *AFTER_COMPARE]),
        ("sacrebleu", ["evaluate.metrics=[rouge_l]"], []),
        ("peft", [], ["baseline", "retention-before", "eval", "retention-after", *AFTER_COMPARE]),
    ],
)
def test_another_version_of_a_package_redoes_what_its_result_depends_on(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, settings: list[str], expected: Any
) -> None:
    """The weights of a training stay: they are what is measured, whatever was installed since."""
    recipe = load_recipe(recipe_path, settings)
    call(recipe)
    install(tmp_path / "packages", package)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    assert call(recipe)[0] == expected


def test_what_a_fraction_keeps_together_counts_where_there_is_a_fraction(recipe_path: Path) -> None:
    call(load_recipe(recipe_path))
    assert call(load_recipe(recipe_path, ["data.keep_together=same"]))[0] == REPORT
    call(load_recipe(recipe_path, ["data.test=0.2"]))
    again = call(load_recipe(recipe_path, ["data.test=0.2", "data.keep_together=same"]))[0]
    assert again == ["check", "baseline", *AFTER_TRAIN]


def test_retention_scores_of_another_number_format_are_not_taken_over(recipe_path: Path) -> None:
    recipe, console = load_recipe(recipe_path), Console(quiet=True)
    exact = score_retention(recipe, tuned=False, console=console)
    assert score_retention(recipe, tuned=False, console=console) == exact  # with the time that it took then
    rounded = score_retention(load_recipe(recipe_path, ["model.dtype=bfloat16"]), tuned=False, console=console)
    assert rounded.parts[0].grades != exact.parts[0].grades
