"""The settings in the header of a GGUF file that transformers' reader passes over.

What it does not map is the default of the configuration's class, whatever the file says: Phi-4-mini then turned whole
heads and StarCoder2 turned them at a tenth of the pace. Here every setting of the file is known, or it is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError
from weitiao.models.gguf_rope import REMEDY, main_rotation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gguf import GGUFReader
    from transformers import PretrainedConfig

_ATTRIBUTES = {
    "context_length": ("max_position_embeddings",),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
    "attention.sliding_window": ("sliding_window",),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps", "layer_norm_epsilon"),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
    "final_logit_softcapping": ("final_logit_softcapping",),
    "expert_count": ("num_local_experts", "num_experts"),
    "expert_used_count": ("num_experts_per_tok",),
    "expert_feed_forward_length": ("moe_intermediate_size",),
    "expert_shared_feed_forward_length": ("shared_expert_intermediate_size",),
}
"""Settings by what configurations call them: the first name that one has."""
_ROTATION = ("rope.freq_base", "rope.freq_base_swa", "rope.dimension_count")
_SHAPES = (
    "attention.head_count_kv", "context_length", "feed_forward_length", "tensor_data_layout", "use_parallel_residual",
    "vocab_size",
)  # fmt: skip
"""What the tensors themselves tell, or what says nothing of what is computed."""
_LARGEST = {"gemma2": 46, "gemma3": 62}
"""Layers of the models with 27B parameters: llama.cpp knows by them how their queries are scaled."""


def complete(path: Path, reader: GGUFReader, config: PretrainedConfig) -> None:
    """Put what transformers did not read of a file's settings into a configuration.

    Args:
        path, reader: The file.
        config: What transformers read of it.

    Raises:
        ModelError: The file has a setting that is not known here.
    """
    architecture = str(reader.fields["general.architecture"].contents())
    prefix = f"{architecture}."
    said = {
        name.removeprefix(prefix): field.contents() for name, field in reader.fields.items() if name.startswith(prefix)
    }
    known = {*_taken(architecture), *_SHAPES, *(name for name in said if name.startswith("rope.scaling."))}
    for name, value in said.items():
        if attribute := next((one for one in _ATTRIBUTES.get(name, ()) if hasattr(config, one)), None):
            setattr(config, attribute, value or None)
            known.add(name)
    if getattr(config, "rope_parameters", None):
        _rotate(path, config, said)
        known.update(_ROTATION)
    if architecture in _LARGEST:
        is_largest = config.num_hidden_layers == _LARGEST[architecture]
        config.query_pre_attn_scalar = (
            config.hidden_size // config.num_attention_heads if is_largest else config.head_dim
        )
    if config.model_type == "mistral" and "attention.sliding_window" not in said:
        config.sliding_window = None
    if unread := sorted(name for name, value in said.items() if name not in known and value not in (0, None)):
        raise ModelError(f"{path} has settings that are not read from GGUF: {', '.join(unread)}.", REMEDY)


def with_experts(reader: GGUFReader, config: PretrainedConfig) -> PretrainedConfig:
    """A Mixtral's configuration in the place of the Llama's that its files say they hold; others as they are."""
    from transformers import MixtralConfig

    experts = reader.fields.get("llama.expert_count")
    if experts is None or not experts.contents():
        return config
    common = config.to_dict().keys() & MixtralConfig().to_dict().keys() - {"model_type", "architectures"}
    return MixtralConfig(**{name: getattr(config, name) for name in common})


def _taken(architecture: str) -> set[str]:
    """The settings that transformers maps itself."""
    from transformers.integrations import GGUF_CONFIG_MAPPING

    names = GGUF_CONFIG_MAPPING[NAMES.get(architecture, architecture)]
    return {name for name, attribute in names.items() if attribute is not None}


NAMES = {"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe"}
"""What transformers calls an architecture, where it is not what the files call it."""


def _rotate(path: Path, config: PretrainedConfig, said: Mapping[str, Any]) -> None:
    """Set the pace of the rotation and how much of a head is turned."""
    main = main_rotation(config)
    main["rope_theta"] = float(said.get("rope.freq_base", 10000.0))  # that of llama.cpp where a file says nothing
    if (local := said.get("rope.freq_base_swa")) is not None:
        config.rope_parameters["sliding_attention"]["rope_theta"] = float(local)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    turned = said.get("rope.dimension_count", width)
    if "partial_rotary_factor" in main:
        main["partial_rotary_factor"] = turned / width
    elif turned != width:
        raise ModelError(f"{path} turns {turned} of the {width} places of a head, which its class does not.", REMEDY)
