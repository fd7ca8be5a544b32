"""Tokens that were added to a tokenizer whose model was never resized: said before anything is computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from transformers import AutoTokenizer
from workbench import write_recipe

from weitiao.errors import ModelError
from weitiao.recipe import load_recipe
from weitiao.serve.engine import Request
from weitiao.study.baseline.run import run_baseline
from weitiao.study.chat import ChatSettings, open_speakers
from weitiao.study.engines import EngineSettings
from weitiao.study.evaluate import evaluate_recipe
from weitiao.study.train import train


@pytest.fixture
def grown_dir(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    """The tiny Llama with two tokens more in its tokenizer than it has embeddings."""
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens(["<order>", "</order>"])
    tokenizer.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("fused", [True, False])
def test_they_are_refused_wherever_rows_have_them(fused: bool, grown_dir: Path, tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path / "work", grown_dir, data={"test": 0.3, "validation": 0.2}, train={"max_steps": 1, "fused": fused},
        baseline={"shots": [0]},
    )  # fmt: skip
    rows = [{"prompt": f"<order>{i}</order> is of what colour?", "completion": "red"} for i in range(12)]
    (path.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load_recipe(path)
    quiet = Console(quiet=True)
    for use in (
        lambda: train(recipe, console=quiet),
        lambda: evaluate_recipe(recipe, tuned=False, console=quiet),
        lambda: run_baseline(recipe, console=quiet),
    ):
        with pytest.raises(
            ModelError, match=r"token 32\d has no embedding; LlamaForCausalLM has 328 of them"
        ) as caught:
            use()
        assert "resize_token_embeddings" in caught.value.remedy
    chat = open_speakers(str(grown_dir), ChatSettings(how=Request(prompt=(), max_tokens=2)), EngineSettings())
    with chat as speakers, pytest.raises(ModelError, match="The prompt: token 328"):
        list(speakers["tuned"].answer("an <order>"))


def test_they_do_no_harm_where_no_row_has_them(grown_dir: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "work", grown_dir, train={"max_steps": 1}))
    assert train(recipe, console=Console(quiet=True)).finished
