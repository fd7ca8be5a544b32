"""Formats that transformers runs: the adapter as it is, and the whole model in a number format."""

from __future__ import annotations

import importlib.util
import shutil
from functools import partial
from pathlib import Path

from weitiao.errors import MissingExtraError, ModelError
from weitiao.export.asking import Open
from weitiao.export.formats import Format, no_check
from weitiao.export.source import Source
from weitiao.files import COMPLETE
from weitiao.models.config import ModelConfig
from weitiao.models.directory import StoredDtype
from weitiao.models.load import load_model, read_tokenizer
from weitiao.models.quantization import Quantization

ENGINE = "transformers"
_MERGED: dict[str, StoredDtype] = {"merged": "float32", "merged-bfloat16": "bfloat16", "merged-float16": "float16"}

_ROUNDED: dict[str, tuple[Quantization, int]] = {"nf4": ("nf4", 4), "int8": ("int8", 8)}

NAMES = ("adapter", *_MERGED, *_ROUNDED)
_ADAPTER = (
    (
        "PEFT",
        "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n\n"
        'model = AutoPeftModelForCausalLM.from_pretrained("{directory}")\n'
        'tokenizer = AutoTokenizer.from_pretrained("{directory}")',
    ),
    ("transformers", 'model = AutoModelForCausalLM.from_pretrained("{base}")\nmodel.load_adapter("{directory}")'),
    ("vLLM", "vllm serve {base} --enable-lora --lora-modules tuned={directory}"),
    ("SGLang", "python -m sglang.launch_server --model-path {base} --lora-paths tuned={directory}"),
    ("weitiao", "weitiao chat {directory}"),
)
_WHOLE = (
    (
        "transformers",
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("{directory}")\n'
        'tokenizer = AutoTokenizer.from_pretrained("{directory}")',
    ),
    ("transformers, as a server", "transformers serve --force-model {directory}"),
    ("vLLM", "vllm serve {directory}"),
    ("SGLang", "python -m sglang.launch_server --model-path {directory}"),
    ("weitiao", "weitiao serve {directory}"),
)


def parse(name: str) -> Format | None:
    """The format of a name; None for a name of others."""
    whole = partial(Format, name, engine=ENGINE, opened_by=_whole, loading=_WHOLE)
    if name == "adapter":
        return Format(name, 32, ENGINE, no_check, copy_adapter, _on_its_base, _ADAPTER)
    if name in _MERGED:
        dtype = _MERGED[name]
        return whole(bits=32 if dtype == "float32" else 16, check=no_check, write=partial(_merge, dtype=dtype))
    if name in _ROUNDED:
        code, bits = _ROUNDED[name]
        return whole(bits=bits, check=check_bitsandbytes, write=partial(_round, code=code))
    return None


def _whole(source: Source) -> Open:
    from weitiao.export.torch_engine import open_whole

    return open_whole


def _on_its_base(source: Source) -> Open:
    from weitiao.export.torch_engine import open_tuned

    return partial(open_tuned, base=source.base)


def copy_adapter(source: Source, directory: Path) -> None:
    """Copy the adapter as it was trained; the base model stays where it is."""
    if not source.is_adapter:
        raise ModelError(f"{source.final} is no adapter but a whole model.", "Export it as `merged`.")
    shutil.copytree(source.final, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(COMPLETE))


def _merge(source: Source, directory: Path, *, dtype: StoredDtype) -> None:
    source.write_whole(directory, dtype)


def check_bitsandbytes(directory: Path, llama_cpp: Path | None) -> None:
    """Refuse to round without bitsandbytes.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("Rounding to nf4 and int8", "quant")


def _round(source: Source, directory: Path, *, code: Quantization) -> None:
    """Write the whole model with its linear layers rounded by bitsandbytes; embeddings and head stay in float32."""
    from weitiao.export.merge import write_plain

    whole = source.whole()
    config = ModelConfig(name=str(whole), dtype="float32", quantization=code)
    write_plain(load_model(config), read_tokenizer(whole), directory, None)
