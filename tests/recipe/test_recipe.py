"""The recipe: errors that name file, line and remedy; overrides; nothing that is read by nobody."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

import weitiao
from weitiao.data.config import SourceConfig
from weitiao.errors import WeitiaoError
from weitiao.generation.config import GenerationConfig
from weitiao.recipe import Recipe, load_recipe, write_recipe
from weitiao.recipe.stages import StagedRecipe, load_work

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD = """\
model: smollm2-135m
data:
  train: rows.jsonl
  test: 0.1
method: {type: lora, r: 16}
objective: {type: sft}
train: {epochs: 3, learning_rate: 2e-4}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD)
    return path


def test_the_recipe_of_the_readme_is_read(recipe: Path) -> None:
    read = load_recipe(recipe)
    assert read.model.name == "smollm2-135m"
    assert read.data.train[0].path == str(recipe.parent / "rows.jsonl")
    assert (read.data.test, read.method.r, read.train.epochs, read.train.learning_rate) == (0.1, 16, 3, 2e-4)
    assert read.run_dir == Path("runs/recipe")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_read(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"^ +path: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    found = load_work(path)  # which reads the settings of all stages
    recipe = found.recipe(next(iter(found.stages))) if isinstance(found, StagedRecipe) else found
    if recipe.objective.type == "pretrain":  # raw text has no answers: a loss on held-out text, and no verdict
        assert recipe.data.validation is not None
        return
    assert recipe.data.test is not None
    assert recipe.verdict.target is not None
    train, test = recipe.data.train[0], recipe.data.test
    if not isinstance(test, float):  # a file of its own: asked like the training rows
        assert (test[0].system, test[0].prompt, test[0].completion) == (train.system, train.prompt, train.completion)


def test_overrides_are_read_as_yaml(recipe: Path) -> None:
    read = load_recipe(
        recipe, ["train.epochs=1", "run_dir=runs/x", "method.target_modules=[q_proj]", "model.dtype=float32"]
    )
    assert (read.train.epochs, read.run_dir, read.method.target_modules) == (1, Path("runs/x"), ["q_proj"])
    assert (read.model.name, read.model.dtype) == ("smollm2-135m", "float32")


@pytest.mark.parametrize(
    ("change", "message", "remedy"),
    [
        (("epochs: 3", "epoch: 3"), r"recipe.yaml:7: unknown key `train.epoch`", "Did you mean `epochs`?"),
        (("r: 16", "rank: 16"), r"recipe.yaml:5: unknown key `method.rank`", "Known keys: start, type, r"),
        (("method:", "methode:"), r"recipe.yaml:5: unknown key `methode`", "Did you mean `method`?"),
        (
            ("model:", "learning_rate: 1\nmodel:"),
            r"recipe.yaml:1: unknown key `learning_rate`",
            "`train.learning_rate`",
        ),
        (
            ("epochs: 3", "workers: 2"),
            r"recipe.yaml:7: unknown key `train.workers`",
            "Remove it: portions are computed",
        ),
        (("epochs: 3", "epochs: many"), r"recipe.yaml:7: `train.epochs`: .*number.*, not 'many'", "weitiao schema"),
        (("r: 16", "r: 0"), r"recipe.yaml:5: `method.r`: .*greater than or equal to 1, not 0", "weitiao schema"),
        (("test: 0.1", "test: 1.5"), r"recipe.yaml:4: `data.test`", "weitiao schema"),
        (
            ("type: lora", "type: qlora"),
            r"recipe.yaml:5: `method`: there is no such method; there are lora",
            "weitiao schema",
        ),
        (("model: smollm2-135m\n", ""), r"recipe.yaml: `model` is missing", "Add it"),
        (("data:", "data: ["), r"recipe.yaml:\d+:\d+: not valid YAML", "Check indentation"),
        (("rows.jsonl", "missing.jsonl"), r"missing.jsonl", "rows.jsonl"),
    ],
)
def test_faults_are_named_with_line_and_remedy(
    recipe: Path, change: tuple[str, str], message: str, remedy: str
) -> None:
    recipe.write_text(GOOD.replace(*change))
    with pytest.raises(WeitiaoError, match=message) as caught:
        load_recipe(recipe)
    assert remedy in caught.value.remedy + caught.value.what
    assert "\n" not in caught.value.what


def test_a_fault_of_an_override_is_said_to_be_on_the_command_line(recipe: Path) -> None:
    with pytest.raises(WeitiaoError, match=r"command line: `train.epochs`"):
        load_recipe(recipe, ["train.epochs=-1"])
    with pytest.raises(WeitiaoError, match=r"`train.epochs` is no override|`epochs` is no override"):
        load_recipe(recipe, ["epochs"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.epochs=["], r"command line: `train.epochs=\[`: not valid YAML"),
        (["train.epochs={a: }}"], "command line: .*: not valid YAML"),
        (["train.epochs=*x"], "command line: .*: not valid YAML"),
        (["train.epochs=&x [*x]"], "stands inside of what it names"),
        (["train.epochs=\t1"], "not valid YAML.*not with tabs"),
        (["method.r="], "command line: `method.r`"),
        (["train.epochs=1", "train.epochs=2"], "`train.epochs` is given 2 times"),
        (["train.epochs.x=1"], "`train.epochs` holds 3, nothing below it can be set"),
        (["a.b.c="], "command line: unknown key `a`"),
        (["train..epochs=1"], "is no override"),
        (["=1"], "is no override"),
        (["train.epochs=" + "9" * 5000], "command line: .*"),
        (["train.epochs=" + "[" * 400], "command line: .*: not valid YAML"),
        (["data.train=[a.jsonl]", "data.train.1.limit=3"], "is a list of 1, it has no `1`"),
        (["data.train=[a.jsonl]", "data.train.limit=3"], "is a list of 1, it has no `limit`"),
        (["model=\x00"], "command line: .*"),
        (["baseline.shots=[0, many]"], "command line: `baseline.shots.1`.* not 'many'"),
        (["data.train={path: 3}"], "command line: `data.train.path`.* not 3"),
    ],
)
def test_an_override_that_cannot_be_read_is_an_error_in_one_line(
    recipe: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(WeitiaoError, match=message) as caught:
        load_recipe(recipe, overrides)
    assert "\n" not in caught.value.what


def test_an_override_reaches_into_short_forms_and_lists(recipe: Path) -> None:
    assert load_recipe(recipe, ["data.train.limit=5"]).data.train[0].limit == 5
    assert load_recipe(recipe, ["data.train=[{path: rows.jsonl}]", "data.train.0.limit=5"]).data.train[0].limit == 5
    assert load_recipe(recipe, ["train.epochs=&x 2"]).train.epochs == 2


def test_what_lies_beside_a_recipe_is_not_taken_for_a_template_that_has_a_name(recipe: Path) -> None:
    for name in ("auto", "chatml", "mine.jinja"):
        (recipe.parent / name).mkdir()
    assert load_recipe(recipe).rendering.template == "auto"
    assert load_recipe(recipe, ["rendering.template=chatml"]).rendering.template == "chatml"
    found = load_recipe(recipe, ["rendering.template=mine.jinja"]).rendering.template
    assert found == str(recipe.parent / "mine.jinja")


def test_what_looks_like_a_date_is_a_text(recipe: Path) -> None:
    recipe.write_text(GOOD + "run_dir: 2024-05-01\n")
    assert load_recipe(recipe).run_dir == Path("2024-05-01")
    assert load_recipe(recipe, ["run_dir=2024-13-45"]).run_dir == Path("2024-13-45")


@pytest.mark.parametrize("given", ["q_proj", "'q_proj, v_proj'", "[q_proj]", "all-linear"])
def test_target_modules_are_one_name_or_several(recipe: Path, given: str) -> None:
    wanted = {"q_proj": ["q_proj"], "'q_proj, v_proj'": ["q_proj", "v_proj"], "[q_proj]": ["q_proj"]}
    assert load_recipe(recipe, [f"method.target_modules={given}"]).method.target_modules == wanted.get(given, given)
    for none in ("[]", "''", "3"):
        with pytest.raises(WeitiaoError, match=r"method.target_modules"):
            load_recipe(recipe, [f"method.target_modules={none}"])


def test_the_written_recipe_reads_back_as_the_same(recipe: Path, tmp_path: Path) -> None:
    read = load_recipe(recipe, ["run_dir=here"])
    write_recipe(read, tmp_path / "copy.yaml")
    assert load_recipe(tmp_path / "copy.yaml", ["run_dir=here"]) == read


def test_importing_the_recipe_loads_no_heavy_library() -> None:
    code = "import sys, weitiao.recipe; print(sorted({'torch', 'transformers', 'datasets', 'peft'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= sections(field.annotation)
    return found | {SourceConfig, GenerationConfig}


def test_every_setting_is_read_by_some_code() -> None:
    root = Path(weitiao.__file__).parent
    read: set[str] = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
    unread = {f"{s.__name__}.{name}" for s in sections(Recipe) for name in s.model_fields if name not in read}
    # `type` names the variant: pydantic reads it when it chooses the class
    assert unread <= {"LoraConfig.type", "SftConfig.type"}


def test_the_reference_pages_are_up_to_date() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", "from tools.recipe_reference import reference; print(*map(reference, ('en', 'zh')))"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    pages = [(root / "docs" / name).read_text(encoding="utf-8") for name in ("recipe.md", "recipe.zh.md")]
    assert done.stdout == " ".join(pages) + "\n"
