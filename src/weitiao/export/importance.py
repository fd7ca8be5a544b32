"""How much each input of a linear layer counts, in the tuned model on rows that it learned: what llama.cpp calls an
importance matrix (llama.cpp, tools/imatrix), and rounding that heeds it.

No package that is ready to install on the systems this program runs on hands such a matrix to llama.cpp's quantiser
(cyllama's binding of it is read-only). Its last step is ggml's, whose C interface comes with xllamacpp: the quantiser
writes the file and chooses the format of each tensor, and its tensors are then rounded once more, to the same formats.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weitiao.errors import MissingExtraError

if TYPE_CHECKING:
    from weitiao.rendering.items import TokenSequence

_TOKEN_BUDGET = 2048
_LEAST = 1e-6
"""Of the largest importance: an input that was always 0 on these rows may count on others."""


def importance(directory: Path, sequences: Sequence[TokenSequence], threads: int) -> dict[str, NDArray[np.float32]]:
    """The mean square of every input of every linear layer inside the decoder's layers; meant for `alone`.

    A beginning that rows share counts once: a long system text would outweigh all that differs.

    Args:
        directory: Of a plain Hugging Face model in float32.
        sequences: Rows.
        threads: To compute with.

    Returns:
        By the name of a weight in the model, [inputs].
    """
    import torch
    from torch import Tensor, nn

    from weitiao.evaluation.likelihood import token_logprobs
    from weitiao.models.attention import FOREST
    from weitiao.models.config import ModelConfig
    from weitiao.models.load import load_model
    from weitiao.models.parts import layer_list
    from weitiao.models.probe import probe_once

    torch.set_num_threads(threads)
    model = load_model(ModelConfig(name=str(directory), dtype="float32", map_weights=True), attention=FOREST)
    longest = max(one.num_inputs for one in sequences)
    probe_once(model, [one.token_ids for one in sequences[:4]], longest=longest, share_prefixes=True)  # counts not
    names = {module: name for name, module in model.named_modules()}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def counting(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def add(_: nn.Module, args: tuple[Any, ...]) -> None:
            inputs_TI = args[0].detach().reshape(-1, args[0].shape[-1])
            sums[name] = sums.get(name, 0) + inputs_TI.square().sum(0, dtype=torch.float64)
            counts[name] = counts.get(name, 0) + len(inputs_TI)

        return add

    for module in layer_list(model).modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(counting(f"{names[module]}.weight"))
    token_logprobs(model, sequences, token_budget=_TOKEN_BUDGET)
    return {name: (total / counts[name]).float().numpy() for name, total in sums.items()}


def weigh(whole: Path, rounded: Path, found: Mapping[str, NDArray[np.float32]]) -> int:
    """Round the tensors of a GGUF file again, so that what counts more is nearer to what it was; meant for `alone`.

    Args:
        whole: The file in float32.
        rounded: The file that llama.cpp's quantiser made of it, which is changed in place.
        found: What `importance` found.

    Returns:
        How many tensors were.

    Raises:
        MissingExtraError: xllamacpp is not installed.
    """
    from gguf import GGMLQuantizationType, GGUFReader

    quantize = _quantizer()
    before, after = GGUFReader(whole), GGUFReader(rounded, "r+")
    named = _tensor_names(before, found)
    values = {tensor.name: tensor.data for tensor in before.tensors}
    kept = (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16, GGMLQuantizationType.Q8_0)
    num = 0
    for tensor in after.tensors:
        if (name := named.get(tensor.name)) is None or tensor.tensor_type in kept:
            continue
        rows_OI = np.ascontiguousarray(values[tensor.name], np.float32)
        weights_I = np.maximum(found[name], _LEAST * found[name].max())
        bytes_of = np.empty(tensor.data.nbytes, np.uint8)
        written = quantize(int(tensor.tensor_type), rows_OI, bytes_of, 0, *rows_OI.shape, weights_I)
        assert written == bytes_of.nbytes, f"ggml wrote {written} bytes of {tensor.name}, not {bytes_of.nbytes}"
        tensor.data[...] = bytes_of.reshape(tensor.data.shape)
        num += 1
    after.data.flush()
    return num


def _tensor_names(file: Any, found: Mapping[str, Any]) -> dict[str, str]:
    """By the name of a tensor in a GGUF file, that of the weight in the model, as far as llama.cpp's table has them."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    name = file.get_field("general.architecture").contents()
    blocks = int(file.get_field(f"{name}.block_count").contents())
    arch = next((arch for arch, known in MODEL_ARCH_NAMES.items() if known == name), None)
    if arch is None:
        return {}
    table = get_tensor_name_map(arch, blocks)
    named = {table.get_name(weight, try_suffixes=(".weight",)): weight for weight in found}
    return {tensor: weight for tensor, weight in named.items() if tensor is not None}


def _quantizer() -> Callable[..., int]:
    """`ggml_quantize_chunk` (ggml.h): type, values, place, first value, rows, row length, importance; bytes written."""
    try:
        from xllamacpp import xllamacpp
    except ModuleNotFoundError as error:
        raise MissingExtraError("Rounding by importance", "export") from error
    floats = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
    function = ctypes.CDLL(xllamacpp.__file__).ggml_quantize_chunk
    function.argtypes = [
        ctypes.c_int, floats, np.ctypeslib.ndpointer(np.uint8), ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, floats,
    ]  # fmt: skip
    function.restype = ctypes.c_size_t
    return function
