"""A model and its tokenizer from the `model` section of a recipe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weitiao.errors import ModelError
from weitiao.machine.hardware import choose_dtype, detect_hardware
from weitiao.models.boundary import loading
from weitiao.models.cache import in_number_format
from weitiao.models.config import ModelConfig
from weitiao.models.directory import read_json_object
from weitiao.models.names import resolve_model
from weitiao.models.quantization import dequantized, keep_layout, quantization_options

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_logger = logging.getLogger(__name__)

OWN = "own"
"""The attention that `transformers` chooses for a class: not all of them have every one."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_PLAIN_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")


def load_tokenizer(config: ModelConfig, *, cache_dir: Path | None = None) -> PreTrainedTokenizerFast:
    """Load the tokenizer that belongs to a model.

    Its vocabulary is never changed: where the model has no padding token, its end-of-sequence token pads.

    Args:
        config: The `model` section.
        cache_dir: Where converted GGUF files are kept; the user's cache directory by default.

    Returns:
        The tokenizer, with `eos_token_id` and `pad_token_id` set.

    Raises:
        ModelError: There is no such model, or its tokenizer cannot be used.
    """
    return read_tokenizer(resolve_model(config, cache_dir=cache_dir), trust_remote_code=config.trust_remote_code)


def read_tokenizer(path: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a directory: that of a model, or of an adapter that brings its own.

    Args:
        path: The directory.
        trust_remote_code: Whether Python code in it may run.

    Returns:
        As `load_tokenizer` does.

    Raises:
        ModelError: It cannot be used.
    """
    from transformers import PreTrainedTokenizerFast  # it takes half a second

    with loading(f"The tokenizer in {path} cannot be loaded", path, packages=("transformers", "tokenizers")):
        if _is_plain(path):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(str(path))
        else:
            from transformers import AutoTokenizer  # it imports torch: seconds

            tokenizer = AutoTokenizer.from_pretrained(str(path), trust_remote_code=trust_remote_code)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(
            f"The tokenizer in {path} is a {type(tokenizer).__name__}, which does not say where in the text its tokens "
            "lie.",
            "Use a model that brings a tokenizer.json.",
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer in {path} names no end-of-sequence token.",
            "Set eos_token in its tokenizer_config.json to the token that ends an answer.",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _is_plain(path: Path) -> bool:
    """Whether `AutoTokenizer` would take the class that reads tokenizer.json as it stands there.

    Beside the configuration of a model, transformers may know the tokenizer of its family better than the files say.
    """
    if (path / "config.json").exists() or not all((path / one).is_file() for one in _TOKENIZER_FILES):
        return False
    found = read_json_object(path / _TOKENIZER_FILES[1])
    return found.get("tokenizer_class") in _PLAIN_TOKENIZERS and "auto_map" not in found


def dtype_of(config: ModelConfig, *, device: str) -> str:
    """The number format that a model gets: the configured one, or what `auto` means on a `cpu` or on `cuda`."""
    return choose_dtype(detect_hardware(), device=device) if config.dtype == "auto" else config.dtype


def format_of(config: ModelConfig, *, device: str) -> str:
    """The number format that a model gets, and how its weights are rounded."""
    return config.rounded(dtype_of(config, device=device))


def load_config(config: ModelConfig) -> PreTrainedConfig:
    """Load the configuration of a model without its weights.

    Raises:
        ModelError: There is no such model, or its configuration cannot be read.
    """
    from transformers import AutoConfig

    path = resolve_model(config)
    with loading(f"The configuration of the model in {path} cannot be read", path):
        return AutoConfig.from_pretrained(str(path), trust_remote_code=config.trust_remote_code)


def load_model(
    config: ModelConfig,
    *,
    attention: str = OWN,
    device: str | torch.device = "cpu",
    options: Mapping[str, Any] | None = None,
    cache_dir: Path | None = None,
    dequantize: bool = False,
    scores: Literal["own", "new"] | None = None,
) -> PreTrainedModel:
    """Load a causal language model, from safetensors only, in evaluation mode.

    Args:
        config: The `model` section.
        attention: A name registered with `transformers.AttentionInterface`; by default what the class itself prefers.
        device: Where the model runs. With `config.map_weights`, on a GPU, it is frozen, the matrices of its layers stay
            in their files, and what is put into it or made to learn has to be settled (`settle`).
        options: Further keyword arguments of `from_pretrained`, as a method wants them.
        cache_dir: Where converted GGUF files are kept; the user's cache directory by default.
        dequantize: Write rounded weights out again: the same numbers, in the number format of the rest.
        scores: Load one that gives sequences one number instead: its `own`, or with a `new` head on its decoder.

    Returns:
        The model, all parameters that are not quantised of the type that `config.dtype` names or `choose_dtype` chose.

    Raises:
        ModelError: There is no such model, it cannot be loaded, or the device has no room for it.
        MissingExtraError: It is to be quantised, and the library for that is not there.
    """
    path = resolve_model(config, cache_dir=cache_dir)
    import torch  # after the cheap check: it takes seconds
    from transformers import AutoConfig, AutoModelForSequenceClassification

    device = torch.device(device)
    dtype = getattr(torch, dtype_of(config, device=device.type))
    if config.map_weights:
        path = _mapped(path, dtype, device, cache_dir)
    rounding = quantization_options(config.quantization, dtype) if config.quantization else {}
    with loading(f"The model in {path} cannot be loaded", path):
        architecture = AutoConfig.from_pretrained(str(path), trust_remote_code=config.trust_remote_code)
        kind: Any = causal_class(architecture) if scores is None else AutoModelForSequenceClassification
        read = partial(
            kind.from_pretrained,
            str(path),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=config.trust_remote_code,
            device_map={"": torch.device("cpu") if config.map_weights else device},
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            **rounding,
            **({"num_labels": 1} if scores == "new" else {}),
            **(options or {}),
        )
        model, report, own_table = _read_with(read, attention)
    if scores == "own" and model.config.num_labels != 1:
        raise ModelError(
            f"The model in {path} tells {model.config.num_labels} classes apart; a score is one number.",
            "Choose a model with num_labels 1.",
        )
    if scores == "new":  # in the place of the head for text
        inside = f"{model.base_model_prefix}."
        report = {name: [key for key in keys if str(key).startswith(inside)] for name, keys in report.items()}
    _check_weights(path, model, report)
    if config.map_weights and device.type != "cpu":
        from weitiao.models.host_weights import keep_on_host

        keep_on_host(model, device)
    keep_layout(model)
    if rounding and dequantize:
        model = dequantized(model, dtype)
    if own_table:
        from weitiao.models.attention import set_backend

        set_backend(model, "alone")
    model.config._name_or_path = config.name  # what adapters name as their base: not a place in a cache
    return model


def _read_with(read: Callable[..., Any], attention: str) -> tuple[PreTrainedModel, dict[str, Any], bool]:
    """A model with an attention, what was found of its weights, and whether it takes attention from its own table."""
    try:
        return *read(attn_implementation=None if attention == OWN else attention), False
    except KeyError as error:
        if error.args != (attention,):
            raise
        return *read(attn_implementation="eager"), True  # nobody else can add to the table


def causal_class(architecture: PreTrainedConfig) -> Any:
    """The class of `transformers` that makes a causal language model of a configuration.

    Of models that read images as well (Qwen2.5-VL, Mistral 3, LLaVA), many are known as such alone: they are made
    whole, and what reads images stays as it is.
    """
    import transformers as t

    known, seeing = t.MODEL_FOR_CAUSAL_LM_MAPPING, t.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if type(architecture) in seeing and type(architecture) not in known:
        return t.AutoModelForImageTextToText
    return t.AutoModelForCausalLM


def _mapped(path: Path, dtype: torch.dtype, device: torch.device, cache_dir: Path | None) -> Path:
    """The directory from which weights are mapped: transformers copies none that is in the right format already."""
    if device.type not in ("cpu", "cuda"):
        raise ModelError(
            f"model.map_weights: on {device.type} the weights have to be in the device's own memory.",
            "Leave it out; on a CPU or with CUDA they may stay in their files.",
        )
    return in_number_format(path, dtype, cache_dir=cache_dir)


def _check_weights(path: Path, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Refuse a model of which a part was left at random numbers; tell of weights that found no place in it."""
    remedy = "Check that config.json and the weights belong together, and that it is a causal language model."
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"The weights in {path} lack {len(missing)}, {missing[0]} among them.", remedy)
    if mismatched := sorted(report["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        raise ModelError(f"{path}: {name} has the shape {list(found)}, the model needs {list(wanted)}.", remedy)
    if unexpected := sorted(report["unexpected_keys"]):
        _logger.warning(
            "%s holds %d weights that a %s has no place for, %s among them. They are left out.",
            path, len(unexpected), type(model).__name__, unexpected[0],
        )  # fmt: skip
