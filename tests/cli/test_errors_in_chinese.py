"""What newcomers do wrong most often is said in Chinese, and no text is left over in its catalogue."""

from __future__ import annotations

import ast
import math
import pickle
import re
import socket
import string
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from workbench import weitiao, write_recipe

import weitiao as package
from weitiao.errors import MissingExtraError, Phrase, RunError
from weitiao.text.wording import Wording, table_of


def fields(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_every_text_is_of_a_phrase_that_the_program_says_with_the_same_values() -> None:
    texts = {key.removeprefix("phrase."): text for key, text in table_of("zh").items() if key.startswith("phrase.")}
    codes = (file.read_text(encoding="utf-8") for file in Path(package.__file__).parent.rglob("*.py"))
    constants = {
        node.value
        for code in codes
        if any(template[:20] in code for template in texts)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert texts
    assert not texts.keys() - constants
    for template, text in texts.items():
        assert fields(template) == fields(text), template
        assert re.search("[一-鿿：。；、，]", text), template


def templates(node: ast.AST) -> list[str]:
    """The texts that an expression may be, with `{}` for values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [re.sub(r"\{[^{}]*\}", "{}", node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)]
    return [*templates(node.body), *templates(node.orelse)] if isinstance(node, ast.IfExp) else []


@cache
def trees(folder: Path) -> list[ast.Module]:
    return [ast.parse(file.read_text(encoding="utf-8")) for file in folder.rglob("*.py")]


class Section(BaseModel, extra="forbid"):
    """What Pydantic is asked for here."""

    most: int


class One(BaseModel):
    type: Literal["one"] = "one"


class Other(BaseModel):
    type: Literal["other"] = "other"


def refuse(_: str) -> str:
    raise ValueError("is empty")


def pydantic_says() -> list[str]:
    """What Pydantic says of the values that recipes and options may have."""
    wanted: list[tuple[Any, list[Any]]] = [
        (int, ["x", 1.5, []]), (float, ["x", []]), (bool, ["x", []]), (str, [1]), (list[int], [1]),
        (tuple[int, ...], [1]), (dict[str, int], [1]), (Section, [1, {}, {"most": 1, "more": 2}]),
        (Annotated[int, Field(gt=1)], [1]), (Annotated[int, Field(ge=1)], [0]), (Annotated[int, Field(lt=1)], [1]),
        (Annotated[int, Field(le=1)], [2]), (Annotated[float, Field(allow_inf_nan=False)], [math.nan]),
        (Annotated[str, Field(min_length=1)], [""]), (Annotated[str, Field(min_length=2)], [""]),
        (Annotated[str, Field(max_length=2)], ["abc"]), (Annotated[list[int], Field(min_length=1)], [[]]),
        (Literal["a", "b"], ["c"]),
        (Annotated[str, AfterValidator(refuse)], [""]),
        (Annotated[One | Other, Field(discriminator="type")], [{"type": "x"}]),
    ]  # fmt: skip
    said = []
    for kind, values in wanted:
        for value in values:
            with pytest.raises(ValidationError) as refused:
                TypeAdapter(kind).validate_python(value)
            said += [one["msg"] for one in refused.value.errors()]
    return said


def plain(form: str) -> str:
    return "".join(text + ("{}" if name else "") for text, name, *_ in string.Formatter().parse(form))


def as_pattern(form: str) -> str:
    return "".join(re.escape(text) + (".+" if name else "") for text, name, *_ in string.Formatter().parse(form))


def test_every_form_is_of_a_text_of_the_program_or_of_its_libraries() -> None:
    code = [*trees(Path(package.__file__).parent), *trees(Path(typer.__file__).parent)]
    said = {text for tree in code for node in ast.walk(tree) for text in templates(node)}
    theirs = pydantic_says()
    assert not [text for text in theirs if not re.search("[一-鿿]", Wording("zh").phrase(text))]
    begins = [text for text in said if len(text.replace("{}", "")) > 4 and "{}" in text]
    known = re.compile("|".join("(?:.*)".join(map(re.escape, text.split("{}"))) for text in begins))
    forms = {key.removeprefix("form."): text for key, text in table_of("zh").items() if key.startswith("form.")}
    assert forms
    left = [form for form in forms if plain(form) not in said and not known.match(plain(form))]
    assert not [form for form in left if not any(re.fullmatch(as_pattern(form), text) for text in theirs)]
    assert not [form for form, text in forms.items() if not {*fields(text)} <= {*fields(form)}]


def test_every_reason_why_a_row_is_bad_is_said_in_chinese() -> None:
    folder, place = Path(package.__file__).parent, {"BadRow": 1, "Found": 0, "Problem": 1}
    calls = [
        node
        for room in ("data", "quality", "rendering")
        for tree in trees(folder / room)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in place
    ]
    reasons = {text for one in calls for text in templates(one.args[place[getattr(one.func, "id")]])}  # noqa: B009
    assert len(reasons) > 80
    real = {
        "holds {}": "holds an IBAN", "holds HTML {}": "holds HTML tags", "{}{}": "is null", "{}": "is null",
        "a turn of the role {} {}": "a turn of the role tool is the first turn",
        "the column `{}` is missing{}": "the column `a` is missing",
        "{}holds half of a surrogate pair": "the field `a` holds half of a surrogate pair",
    }  # fmt: skip
    told = {reason: Wording("zh").phrase(real.get(reason, reason.replace("{}", "x7"))) for reason in reasons}
    assert not [reason for reason, text in told.items() if not re.search("[一-鿿]", text)]


def test_every_error_of_the_pages_and_of_the_queue_is_said_in_chinese() -> None:
    folder, texts = Path(package.__file__).parent, set[str]()
    for tree in (*trees(folder / "ui"), *trees(folder / "jobs")):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("what", "remedy"):
                texts |= {*templates(node.value)}
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in ("UiError", "NotFoundError", "JobError"):
                texts |= {text for one in node.args for text in templates(one)}
    told = {text: Wording("zh").phrase(text.replace("{}", "x7")) for text in texts - {"", "runs=a&runs=b"}}
    assert len(told) > 60
    assert not [text for text, said in told.items() if not re.search("[一-鿿]", said)]


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("must be text, is a list", "应为文本，却是列表"),
        ("the column `text` is missing", "缺少列 `text`"),  # a name is no kind of value
        ("the field `a.b` the role 'x' is not known; say who it is, for example `roles: {x: user}`",
         "字段 `a.b` 不认识角色 'x'；请说明是谁，例如 `roles: {x: user}`"),
        ("the row is not valid JSON: Expecting value at column 3", "该样本不是有效的 JSON：第 3 列，Expecting value"),
        ("the row has 3 fields where the header has 2", "该样本有 3 个字段，而表头有 2 个"),
        ("nobody knows this", "nobody knows this"),
    ],
)  # fmt: skip
def test_a_reason_that_came_through_a_file_is_known_by_its_form(english: str, chinese: str) -> None:
    assert Wording("zh").phrase(english) == chinese
    assert Wording("en").phrase(english) == english


def test_a_phrase_is_a_text_and_its_values_are_no_templates() -> None:
    inner = Phrase("the hub at {address}", address="{x}")
    error = RunError(Phrase("{path} is in use by another process.", path="{y}"), Phrase("Check {what}", what=inner))
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert str(one) == "{y} is in use by another process.\nCheck the hub at {x}"
        assert Wording("zh").phrase(one.what) == "{y} 正被另一个进程使用。"
        assert Wording("zh").phrase(one.remedy) == "请检查模型库 {x} "
        assert [Wording("en").phrase(text) for text in (one.what, one.remedy)] == [one.what, one.remedy]
    assert Wording("zh").phrase("A text {of} no catalogue.") == "A text {of} no catalogue."
    missing = MissingExtraError("`weitiao ui`", "ui")
    assert Wording("zh").phrase(missing.remedy) == "安装命令：pip install 'weitiao[ui]'"


@pytest.fixture(scope="module")
def finished(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose run is done."""
    recipe = write_recipe(tmp_path_factory.mktemp("finished"), tiny_llama_dir, train={"max_steps": 1})
    assert weitiao("train", recipe).returncode == 0
    rows = "instruction,input,output\nSay it.,one,two\nSay it.,two,\nSay it.,three\n"
    (recipe.parent / "bad.csv").write_text(rows, encoding="utf-8")
    return recipe


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["train", "none.yaml"], "没有配方 none.yaml。", "请检查路径；`weitiao schema` 说明配方的内容。"),
        (["train", "RECIPE", "train.epoch=2"], "命令行：没有 `train.epoch` 这项设置。", "是不是 `epochs`？"),
        (
            ["train", "RECIPE", "train.epochs=a", "method.x=1"],
            "命令行：`train.epochs`：.*（另有 1 个问题）。|命令行：没有 `method.*` 这项设置（另有 1 个问题）。",
            "请改正取值；`weitiao schema` 列出允许的取值。|可用的设置：.*",
        ),
        (
            ["train", "RECIPE", "data.train=row.jsonl"],
            "row.jsonl：没有这个文件或目录；查找过 .*。",
            "是不是 .*rows.jsonl？",
        ),
        (["model", "info", "./none"], "没有可以加载模型的文件或目录 './none'。", "请检查路径。运行或适配器的.*"),
        (["model", "info", "owner/none"], "找不到模型 'owner/none'：它不是内置的名称（.*），.*", "请检查(名称|拼写).*"),
        (["train", "RECIPE"], ".*run 中的运行已经完成。", "要继续，请提高 train.epochs.*"),
        (
            ["train", "RECIPE", "train.seed=7"],
            ".*run 是用另一份配方开始的：train.seed 不同。",
            "用 `weitiao train .*run` 按原来.*",
        ),
        (["train"], "缺少参数 'recipe'。", "用 `weitiao train --help` 查看用法。"),
        (
            ["train", "RECIPE", "--forse"],
            "没有选项 --forse（相近的选项：--force）。?",
            "用 `weitiao train --help` 查看用法。",
        ),
        (["trian"], "没有命令 'trian'。是不是 'train'.*？", "用 `weitiao --help` 查看用法。"),
        (["data", "chek"], "没有命令 'chek'。是不是 'check'？", "用 `weitiao data --help` 查看用法。"),
        (
            ["data", "check", "a", "--near", "2"],
            "'?--near'? 的取值无效：应不大于 1.*",
            "用 `weitiao data check --help` 查看用法。",
        ),
        (["why", "a", "--step", "x"], "'?--step'? 的取值无效：应为整数", "用 `weitiao why --help` 查看用法。"),
        (
            ["run", "a", "--language", "fr"],
            "'?--language'? 的取值无效：'fr' 不在 'en', 'zh' 之中",
            "用 `weitiao run --help` 查看用法。",
        ),
        (["run", "a", "--until"], "选项 '--until' 需要一个值。", "用 `weitiao (run )?--help` 查看用法。"),
        (["verdict", "a", "b"], "多余的参数：b", "用 `weitiao verdict --help` 查看用法。"),
        (
            ["train", "RECIPE", "data.train=bad.csv"],
            "bad.csv，样本 2（第 3 行），字段 `output`：回答为空。共有 2 条样本不可用，"
            "还有：样本 3（第 4 行）：该样本有 2 个字段，而表头有 3 个。",
            "请改正；或设 `on_bad_rows: skip`.*",
        ),
        (["serve", "MODEL", "--port", "PORT"], "地址 127.0.0.1:.* 无法使用：.*。", "用 --port 换一个端口.*"),
    ],
)
def test_newcomers_are_told_in_chinese(
    words: list[str], what: str, remedy: str, finished: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        known = {"RECIPE": str(finished), "MODEL": str(tiny_llama_dir), "PORT": str(taken.getsockname()[1])}
        done = weitiao("--language", "zh", *(known.get(word, word) for word in words), cwd=finished.parent)
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith(("错误：", "办法："))]
    assert re.fullmatch(f"错误：({what})", said[0]), said
    assert re.fullmatch(f"办法：({remedy})", said[1]), said
