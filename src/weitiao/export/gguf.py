"""GGUF: weights, tokenizer, chat template and the tokens that end an answer in one file, for llama.cpp and its kin."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from weitiao.errors import MissingExtraError, RecipeError
from weitiao.export.asking import alone
from weitiao.export.converter import Converter
from weitiao.export.formats import Format
from weitiao.export.importance import weigh
from weitiao.export.llama_engine import library, open_gguf, quantize
from weitiao.export.source import Source

ENGINE = "llama.cpp"
NAMES = ("gguf-f16", "gguf-q8_0", "gguf-q6_k", "gguf-q5_k_m", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k")
_WEIGHED_BELOW = 3
"""Bits. At 3, on SmolLM2 that learned Banking77, the loss grew by an importance matrix; see docs/export.md."""
LOADING = (
    ("llama.cpp", "llama-server -m {directory}/{file} --jinja"),
    ("weitiao", "weitiao serve {directory}/{file}"),
    (
        "Ollama (the format `ollama` writes a Modelfile with template and stops)",
        "ollama create NAME -f Modelfile  # FROM ./{file}",
    ),
    ("LM Studio", "lms import {directory}/{file}"),
    ("Python", 'from llama_cpp import Llama\n\nmodel = Llama("{directory}/{file}")'),
)


def parse(name: str) -> Format | None:
    """The format of a name; None for a name of others."""
    kind = name.removeprefix("gguf-")
    if kind == name or not re.search(r"\d", kind):
        return None
    _number(kind)
    return Format(name, _bits(kind), ENGINE, check, partial(write, kind=kind), lambda source: open_gguf, LOADING)


def check(directory: Path, llama_cpp: Path | None) -> None:
    """Refuse a base model whose family or tokenizer llama.cpp does not know.

    Raises:
        WeitiaoError: It does not, or what makes and runs such files is not installed.
    """
    library()
    with TemporaryDirectory() as place:
        Converter(llama_cpp).vocabulary(directory, Path(place) / "vocabulary.gguf")


def write(source: Source, directory: Path, *, kind: str) -> None:
    """Write the file of a kind, such as `q4_k_m`: rounded from float32; to 2 bits by what counts most on rows that
    the model learned.

    Raises:
        RecipeError: llama.cpp's quantiser has no such kind.
        WeitiaoError: The model cannot become GGUF, or the disk is full.
    """
    number = _number(kind)
    whole, target = source.gguf(), directory / f"model-{kind}.gguf"
    if kind == "f32":
        shutil.copyfile(whole, target)
    else:
        alone("llama.cpp's quantiser", quantize, whole, target, number, source.threads)
        if _bits(kind) < _WEIGHED_BELOW and (found := source.importance()):
            alone("ggml's quantiser", weigh, whole, target, found)


def _bits(kind: str) -> int:
    """Of a weight, as the name says them."""
    return int(re.findall(r"\d+", kind)[0])


def _number(kind: str) -> int:
    """Of a kind among the `llama_ftype` of llama.cpp."""
    try:
        from gguf import LlamaFileType
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The format gguf-{kind}", "export") from error
    known = {one.name.removeprefix("ALL_").removeprefix("MOSTLY_").lower(): one.value for one in LlamaFileType}
    known.pop("guessed", None)
    if kind not in known:
        raise RecipeError(f"llama.cpp's quantiser has no `{kind}`.", f"It has: {', '.join(sorted(known))}.")
    return int(known[kind])
