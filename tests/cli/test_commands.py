"""The commands as a person types them, on a tiny model: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from workbench import weitiao, weitiao_anew, write_recipe

COMMANDS = (
    "init", "demo", "run", "methods", "show", "baseline", "train", "why", "eval", "retention", "compare", "verdict",
    "report", "chat", "merge", "doctor", "schema",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(
        directory, tiny_llama_dir, train={"max_steps": 3}, data={"test": 0.2, "validation": 0.1},
        evaluate={"generation": {"max_new_tokens": 6}},
    )  # fmt: skip
    done = weitiao_anew("train", recipe, "--json")  # a start of its own, with what libraries print in it
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["finished"], result["steps"]) == (True, 3)
    assert "weitiao eval" in done.stderr  # the closing panel says what to type next
    for noise in ("Warning", "Loading weights", "huggingface", "Traceback"):
        assert noise not in done.stderr
    return directory / "run"


def test_the_version_is_that_of_the_package() -> None:
    assert weitiao("--version").stdout == f"weitiao {metadata.version('weitiao')}\n"


def test_help_is_fast_and_every_command_has_examples() -> None:
    seconds = [math.inf]
    while min(seconds) >= 0.5:  # the first finds no compiled modules
        assert len(seconds) <= 4, seconds
        begun = os.times()
        done = weitiao_anew("--help")
        ended = os.times()  # the processor's: tests in another process make it wait, but not work
        seconds.append(ended.children_user + ended.children_system - begun.children_user - begun.children_system)
    code = "import sys, weitiao.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "datasets", "numpy"} & set(loaded)
    assert all(name in done.stdout for name in COMMANDS)
    for name in COMMANDS:
        text = weitiao(name, "--help")
        assert text.returncode == 0
        assert "Examples:" in text.stdout
        assert f"weitiao {name}" in text.stdout


def test_train_speaks_chinese(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 2}, data={"validation": 0.1})
    done = weitiao("--language", "zh", "train", recipe)
    assert done.returncode == 0, done.stderr
    for text in (
        "：JSON Lines，alpaca（自动识别），40 条样本", "train：36 条样本渲染为 36 个序列：", "注意力：", "个参数中学习",
        "训练完成", "下一步：",
    ):  # fmt: skip
        assert text in done.stderr
    assert re.search(r"^第 2/2 步  损失 \d\.\d{4}  每秒 \d+ 个词元", done.stderr, re.M)
    assert re.search(r"^第 2 步：验证集损失 \d\.\d{4}", done.stderr, re.M)
    assert not re.search(r"\b(?:step|loss|tokens/s|parameters|Next)\b", done.stderr)


def test_show_marks_the_learned_tokens(trained: Path) -> None:
    done = weitiao("show", trained, "-n", "1")
    assert done.returncode == 0, done.stderr
    assert "answer the question in one word" in done.stdout
    assert "⟦" in done.stdout


def test_eval_writes_scores_and_predictions_of_both_models(trained: Path) -> None:
    for arguments, suffix in (([], ""), (["--base"], "-base")):
        done = weitiao("eval", trained, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        printed = json.loads(done.stdout)
        assert printed["exact_match"]["n"] == 8
        written = json.loads((trained / f"scores{suffix}.json").read_text())
        assert written["exact_match"] == printed["exact_match"]
        assert len((trained / f"predictions{suffix}.jsonl").read_text().splitlines()) == 8


def test_chat_answers_lines_of_a_pipe_from_both_models(trained: Path) -> None:
    done = weitiao("chat", trained, "--max-new-tokens", "4", stdin="what colour\nwhich thing\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout
    done = weitiao("chat", trained, "--compare", "--max-new-tokens", "4", stdin="what colour\n")
    assert done.returncode == 0, done.stderr


def test_merge_gives_a_plain_model(trained: Path, tmp_path: Path) -> None:
    done = weitiao("merge", trained, tmp_path / "merged", "--json")
    assert done.returncode == 0, done.stderr
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert weitiao("merge", trained, tmp_path / "merged").returncode == 2


def test_demo_ends_in_one_json_object(tiny_llama_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama_dir, model)
    config = json.loads((model / "config.json").read_text())
    few = {"max_position_embeddings": 4096, "num_hidden_layers": 1}  # eight solved examples take more than 512 tokens
    (model / "config.json").write_text(json.dumps(config | few))
    weights = load_file(model / "model.safetensors")
    weights = {name: tensor for name, tensor in weights.items() if ".layers.1." not in name}
    weights["model.embed_tokens.weight"][2] *= 20  # the end of a turn is likely: most answers are short
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    done = weitiao("demo", "--output", tmp_path / "demo", "--model", model, "--rows", "16", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("A small model learns to turn customer messages into one line of JSON")
    first, _, rest = done.stderr.partition("1/9 check")  # before the first step: a message, an answer, the right one
    assert all(word in first for word in ("message", "untuned", 'wanted   {"order":'))
    assert rest
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["before"]["exact_match"] == 0
    assert 0 <= result["after"]["exact_match"] <= 1
    assert result["after"]["n"] == result["before"]["n"] == result["best_prompt"]["n"] == 150
    assert [step["state"] for step in result["steps"]] == ["done"] * 9
    assert result["verdict"]["decision"] == "do not ship"  # sixteen rows teach nothing
    assert Path(result["report"]).is_file()


def test_doctor_and_schema_print_json() -> None:
    assert json.loads(weitiao("doctor", "--json").stdout)
    schema = json.loads(weitiao("schema").stdout)
    assert {"model", "data", "train"} <= set(schema["properties"])


def test_an_unknown_command_or_option_exits_2() -> None:
    assert weitiao("tune").returncode == 2
    assert weitiao("train", "--fast").returncode == 2
