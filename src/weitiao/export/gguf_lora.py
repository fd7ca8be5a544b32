"""The adapter alone as GGUF: several of them can be served on one base model."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from weitiao.errors import MissingExtraError, ModelError
from weitiao.export.asking import Open
from weitiao.export.converter import Converter
from weitiao.export.formats import Format
from weitiao.export.gguf import check as check_gguf
from weitiao.export.source import Source
from weitiao.models.names import resolve_model

NAMES = ("gguf-lora",)

_LOADING = (
    ("The base model as GGUF", "python convert_hf_to_gguf.py BASE_DIRECTORY --outfile base.gguf  # of llama.cpp"),
    ("llama.cpp", "llama-server -m base.gguf --lora {directory}/{file} --jinja"),
    ("weitiao", "weitiao serve base.gguf --adapter tuned={directory}/{file}"),
    ("Ollama, in a Modelfile", "FROM ./base.gguf\nADAPTER ./{file}"),
    ("Python", 'from llama_cpp import Llama\n\nmodel = Llama("base.gguf", lora_path="{directory}/{file}")'),
)


def parse(name: str) -> Format | None:
    """The format of a name; None for a name of others."""
    return Format(name, 16, "llama.cpp", check, _write, _on_its_base, _LOADING) if name in NAMES else None


def check(directory: Path, llama_cpp: Path | None) -> None:
    """Refuse a base model that llama.cpp does not know.

    Raises:
        WeitiaoError: It does not, or its server is not installed.
    """
    if find_spec("xllamacpp") is None:
        raise MissingExtraError("Running an adapter in llama.cpp", "serve")
    check_gguf(directory, llama_cpp)


def _write(source: Source, directory: Path) -> None:
    if not source.is_adapter:
        raise ModelError(f"{source.final} is no adapter but a whole model.", "Export it as gguf-q8_0.")
    Converter(source.llama_cpp).lora(source.final, resolve_model(source.base), directory / "adapter.gguf")


def _on_its_base(source: Source) -> Open:
    from weitiao.export.lora_engine import open_lora

    base = source.work / "base.gguf"
    directory = resolve_model(source.base)
    if not base.exists():
        Converter(source.llama_cpp).model(directory, base, "f16")
    tokenizer = source.final if (source.final / "tokenizer.json").exists() else directory
    return partial(open_lora, base=base, tokenizer=tokenizer)
