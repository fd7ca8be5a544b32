"""The boundary around the loaders of other libraries: whatever they throw at a user's files is one clear error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from weitiao.errors import ModelError, WeitiaoError
from weitiao.models.directory import damage, quantization

_REMOTE_CODE = "The model brings its own Python code. If you trust its authors, set model.trust_remote_code: true."
_NOT_QUANTISED = "take the checkpoint of this model that is not quantised"


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and warnings of transformers (and PEFT) inside the block, through its own switches.

    Errors still reach the terminal, and the settings of before are restored at the end.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # to PEFT, about names that transformers will drop
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def loading(
    what: str, directory: Path | None = None, *, packages: Sequence[str] = ("transformers",), remedy: str | None = None
) -> Iterator[None]:
    """Run a third-party loader in the block: silent, and with a `ModelError` for whatever it throws.

    Loaders raise nearly anything for a file that is damaged, of another version or of another tool: AttributeError,
    TypeError, RuntimeError, even a bare Exception. The cause is kept.

    Args:
        what: The first words of the error, such as "The tokenizer in models/x cannot be loaded".
        directory: What is loaded from. After a failure it is searched for a damaged file, which is named.
        packages: Whose versions the error names.
        remedy: What to do about it, where neither the directory nor the exception says.

    Raises:
        ModelError: The block raised something.
    """
    try:
        with quiet_transformers():
            yield
    except WeitiaoError:
        raise
    except Exception as error:  # what a loader raises for a user's file has no common type
        found = damage(directory) if directory is not None else None
        if found is not None:
            raise ModelError(f"{what}: {found}.", "Download or copy that file again.") from error
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
        raise ModelError(
            f"{what}: {reason(error)} ({versions})", _remedy(error, directory, packages, remedy)
        ) from error


def reason(error: BaseException) -> str:
    """The type and the first words of an exception, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:1])
    for line in lines[1:]:
        if not text.endswith(":"):  # "Error(s) in loading state_dict for X:" says nothing yet
            break
        text = f"{text} {line}"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _remedy(error: Exception, directory: Path | None, packages: Sequence[str], remedy: str | None) -> str:
    if "trust_remote_code" in str(error):
        return _REMOTE_CODE
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's has no such base
        return "It does not fit into memory: take a smaller model, a machine with more, or model.dtype: bfloat16."
    method = quantization(directory) if directory is not None else None
    if method is not None:
        return f"Its weights are quantised ({method}): install what is asked for, or {_NOT_QUANTISED}."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Install the Python package that brings {error.name}."
    newer = f"If it was made for newer versions, update: pip install -U {' '.join(packages)}."
    return remedy or f"Check that it is complete, or load another copy. {newer}"
