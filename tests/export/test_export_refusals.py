"""What cannot be exported, said at the command line before anything is computed: what to install, what to take."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from export.conftest import make_run
from forked import environment, server
from transformers import AutoTokenizer, OPTConfig, OPTForCausalLM
from workbench import weitiao

_WITHOUT = """
import sys

missing = sys.argv[1]
assert missing not in sys.modules

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from weitiao.cli.main import main
sys.argv[1:] = sys.argv[2:]
main()
"""


@pytest.mark.parametrize("package", ["cyllama", "gguf"])
def test_a_missing_package_is_told_with_what_to_install(smol_run: Path, tmp_path: Path, package: str) -> None:
    arguments = ["export", str(smol_run), "--to", "gguf-q4_k_m", "--output", str(tmp_path / "exports")]
    done = subprocess.run(
        [server().python, "-c", _WITHOUT, package, *arguments],
        env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'weitiao[export]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not any((tmp_path / "exports").glob("*"))


def test_a_family_that_llama_cpp_does_not_know_is_told_with_what_to_take(
    smollm2_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("opt")
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    ends = tokenizer.eos_token_id
    config = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=32, word_embed_proj_dim=32, ffn_dim=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=256, bos_token_id=ends, eos_token_id=ends, pad_token_id=ends,
    )  # fmt: skip
    OPTForCausalLM(config).save_pretrained(home / "base")
    tokenizer.save_pretrained(home / "base")
    run = make_run(home, home / "base", train={"max_steps": 1})
    done = weitiao("export", run, "--to", "gguf-q8_0")
    said = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "llama.cpp knows no model of this family" in said and "OPTForCausalLM" in said
    assert "merged" in said and "nf4" in said
    assert not (run / "export").exists() or not any((run / "export").iterdir())
