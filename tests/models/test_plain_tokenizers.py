"""A tokenizer whose file says all is read without `AutoTokenizer`, which imports torch, and is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from brute_force_bpe import TEXTS, random_texts
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from weitiao.models.load import read_tokenizer

READ = """
import sys
from pathlib import Path
from weitiao.models.load import read_tokenizer
from weitiao.rendering.render import end_of_turn_id
from weitiao.serve.text import ModelText
tokenizer = read_tokenizer(Path(sys.argv[1]))
text = ModelText(tokenizer, frozenset([end_of_turn_id(tokenizer)]))
print(text.chat([{"role": "user", "content": "12 + 30?"}]).ids, "torch" in sys.modules)
"""


def written(source: Path, directory: Path, *, kind: str, config: dict[str, object] | None = None) -> Path:
    """The tokenizer of a directory, said to be of a class, beside the configuration of a model or without one."""
    directory.mkdir()
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(directory)
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    (directory / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": kind}))
    if config is not None:
        (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("TokenizersBackend", None),
        ("PreTrainedTokenizerFast", None),
        ("GPT2Tokenizer", None),
        ("Qwen2Tokenizer", None),
        ("TokenizersBackend", {"model_type": "llama"}),
        ("TokenizersBackend", {"model_type": "qwen2"}),  # transformers takes another class than the file names
        ("LlamaTokenizerFast", {"model_type": "llama"}),
    ],
    ids=str,
)
def test_it_is_what_auto_tokenizer_reads(
    kind: str, config: dict[str, object] | None, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    directory = written(tiny_llama_dir, tmp_path / "one", kind=kind, config=config)
    ours, theirs = read_tokenizer(directory), AutoTokenizer.from_pretrained(directory)
    assert type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    for text in [*TEXTS, "<|im_start|>12345 67\n\n<|im_end|>", *random_texts(20, seed=5)]:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], repr(text)
    assert (ours.chat_template, ours.model_max_length) == (theirs.chat_template, theirs.model_max_length)
    assert {**ours.special_tokens_map, "pad_token": None} == {**theirs.special_tokens_map, "pad_token": None}


def test_torch_is_not_imported_to_read_it_and_to_render(smollm2_dir: Path, tmp_path: Path) -> None:
    directory = written(smollm2_dir, tmp_path / "one", kind="TokenizersBackend")
    done = subprocess.run([sys.executable, "-c", READ, directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    turns = [{"role": "user", "content": "12 + 30?"}]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    assert done.stdout == f"{tuple(expected)} False\n"
