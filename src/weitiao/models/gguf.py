"""A GGUF file turned into a Hugging Face directory: plain configuration, safetensors weights, tokenizer.

The values are those of the file: quantised tensors are expanded to float32, half-precision ones stay as they are
where all the matrices are of one half type.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import MissingExtraError, ModelError
from weitiao.models.boundary import loading, quiet_transformers
from weitiao.models.gguf_rope import REMEDY, ROPE_TENSORS, scale_positions
from weitiao.models.gguf_settings import NAMES, complete, with_experts
from weitiao.models.gguf_tokenizer import read_gguf_tokenizer

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader
    from transformers import PretrainedConfig, PreTrainedModel

_AGAIN = "Download or copy the file again."
_PACKAGES = ("gguf", "transformers")


def convert_gguf(path: Path, directory: Path) -> None:
    """Write the model of a GGUF file into a directory that `from_pretrained` of plain transformers loads.

    Args:
        path: The GGUF file.
        directory: An existing directory, written into.

    Raises:
        ModelError: The file is damaged, or holds something that would be lost on the way.
        MissingExtraError: The `gguf` package is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtraError("Loading a GGUF file", "gguf")
    from gguf import GGUFReader
    from transformers import AutoConfig

    with loading(f"{path} is not a whole GGUF file", packages=_PACKAGES, remedy=_AGAIN):
        _check_header(path)
        reader = GGUFReader(path)
    with loading(f"{path} cannot be read as a language model", packages=_PACKAGES, remedy=REMEDY):
        config = AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name)
        vars(config).pop("_model_name_or_path", None)  # the file's free-text title, which is no name to be loaded
        config = with_experts(reader, config)
        complete(path, reader, config)
        scale_positions(path, reader, config)
        tokenizer = read_gguf_tokenizer(path, max_length=_context(reader))
        model = _read_model(path, reader, config)
    with quiet_transformers():
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)


def write_tokenizer(path: Path, directory: Path) -> None:
    """Write the tokenizer of a GGUF file into a directory, with the model's context as its `model_max_length`.

    Arguments and errors are those of `convert_gguf`; the weights may be of any family.
    """
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtraError("Loading a GGUF file", "gguf")
    from gguf import GGUFReader

    with loading(f"{path} is not a whole GGUF file", packages=_PACKAGES, remedy=_AGAIN):
        tokenizer = read_gguf_tokenizer(path, max_length=_context(GGUFReader(path)))
    with quiet_transformers():
        tokenizer.save_pretrained(directory)


def _context(reader: GGUFReader) -> int:
    """The longest sequence that the model was made for, in tokens."""
    architecture = reader.fields["general.architecture"].contents()
    return int(reader.fields[f"{architecture}.context_length"].contents())


def _check_header(path: Path) -> None:
    """Refuse what transformers would load wrongly without saying so."""
    from transformers.integrations.gguf import read_gguf_metadata
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    metadata, _ = read_gguf_metadata(str(path))
    architecture = metadata["general.architecture"]
    if NAMES.get(architecture, architecture) not in GGUF_SUPPORTED_ARCHITECTURES:
        raise ModelError(f"{path} holds a model of the architecture {architecture!r}, which is not supported.", REMEDY)
    if metadata.get("split.count", 1) > 1:
        raise ModelError(f"{path} is one part of {metadata['split.count']}.", "Join the parts (gguf-split --merge).")


def _read_model(path: Path, reader: GGUFReader, config: PretrainedConfig) -> PreTrainedModel:
    """A model of the plain configuration with the weights of the file."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config)
    except ValueError as error:
        raise ModelError(f"{path} holds no causal language model ({config.model_type}).", REMEDY) from error
    state, unread = _read_weights(reader, skeleton)
    if unread:
        raise ModelError(f"{path} holds weights that a {config.model_type} model has no place for: {unread}.", REMEDY)
    # A model loaded by `gguf_file=` carries a quantisation configuration and refuses to be saved; this one is plain.
    model, report = type(skeleton).from_pretrained(
        None, config=config, state_dict=state, dtype=_float_type(reader), output_loading_info=True
    )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"{path} lacks {len(missing)} weights of the model, {missing[0]} among them.", REMEDY)
    return model


def _read_weights(reader: GGUFReader, skeleton: PreTrainedModel) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The file's tensors under their transformers names, and the names of those that have none.

    The maps of names and layouts are those of transformers. Its own loop over them drops a tensor that it cannot
    place and draws a progress bar that has no switch.
    """
    import torch
    from gguf import dequantize
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    architecture = str(reader.fields["general.architecture"].contents())
    kinds = [TENSOR_PROCESSORS.get(architecture, TensorProcessor)]
    if is_mixtral := skeleton.config.model_type == "mixtral":  # heads as Llama's, experts as Qwen2-MoE's
        kinds.append(TENSOR_PROCESSORS["qwen2moe"])
    processors = [kind(config=skeleton.config.to_dict()) for kind in kinds]
    names = get_gguf_hf_weights_map(skeleton, processors[-1], model_type=architecture if is_mixtral else None)
    places = skeleton.state_dict()
    state: dict[str, Any] = {}
    unread = []
    for tensor in reader.tensors:
        if tensor.name in ROPE_TENSORS:
            continue
        result = processors[-1 if "_exps" in tensor.name else 0].process(
            weights=dequantize(tensor.data, tensor.tensor_type),
            name=tensor.name,
            tensor_key_mapping=names,
            parsed_parameters={"tensors": state},  # where processors of mixtures of experts put theirs
        )
        if result.name in names:
            name, weight = names[result.name], torch.from_numpy(result.weights.copy())
            only_laid_out = weight.squeeze().shape == places[name].squeeze().shape
            state[name] = weight.view(places[name].shape) if only_laid_out else weight
        elif result.name is not None:
            unread.append(result.name)
    return state, unread


def _float_type(reader: GGUFReader) -> torch.dtype:
    """The narrowest float type that holds every matrix of the file exactly."""
    import torch
    from gguf import GGMLQuantizationType

    kinds = {tensor.tensor_type for tensor in reader.tensors if len(tensor.shape) > 1}
    halves = {GGMLQuantizationType.F16: torch.float16, GGMLQuantizationType.BF16: torch.bfloat16}
    return halves.get(kinds.pop(), torch.float32) if len(kinds) == 1 else torch.float32
