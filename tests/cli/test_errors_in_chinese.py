"""What newcomers do wrong most often is said in Chinese, and no text is left over in its catalogue."""

from __future__ import annotations

import ast
import pickle
import re
import socket
import string
from pathlib import Path

import pytest
from workbench import weitiao, write_recipe

import weitiao as package
from weitiao.errors import MissingExtraError, Phrase, RunError
from weitiao.text.wording import Wording, table_of


def fields(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_every_text_is_of_a_phrase_that_the_program_says_with_the_same_values() -> None:
    texts = {key.removeprefix("problem."): text for key, text in table_of("zh").items() if key.startswith("problem.")}
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
        assert re.search("[一-鿿：。]", text), template


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
