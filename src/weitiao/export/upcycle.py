"""Sparse upcycling: a dense model becomes a mixture of experts (https://arxiv.org/abs/2212.05055).

Every expert begins as the feed-forward of its layer, so that the weighed sum of any of them is what the dense model
computes: weights of the chosen add up to 1. A shared expert is weighed by a gate that begins at one half; then the down
projections of the other experts begin at half of the dense one's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError
from weitiao.files import write_json, written_whole
from weitiao.models.boundary import loading
from weitiao.models.directory import require_free
from weitiao.models.load import load_config
from weitiao.models.names import resolve_model

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig

    from weitiao.models.config import ModelConfig

_FILE_BYTES = 2 << 30
"""Weights that are held at once, and the size of a file of them."""
_MLP = re.compile(r"^(.*layers\.\d+)\.mlp\.(gate|up|down)_proj\.weight$")
_BALANCE = 0.01
"""Coefficient of the balancing loss that the Switch Transformer was trained with."""
_LEFT_BEHIND = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")


@dataclass(frozen=True, slots=True)
class Form:
    """How a family of mixtures writes a layer.

    Attributes:
        type: Its `model_type`.
        block: The part that takes the place of the dense feed-forward.
        names: What its experts call the gate, up and down projections.
        count: The name of the number of experts in its configuration.
        more: Further fields of its configuration.
    """

    type: str
    block: str
    names: dict[str, str]
    count: str
    more: dict[str, Any]


_QWEN_NAMES = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
_QWEN = {"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
_MIXTRAL = Form("mixtral", "block_sparse_moe", {"gate": "w1", "up": "w3", "down": "w2"}, "num_local_experts", {})
_QWEN3 = Form("qwen3_moe", "mlp", _QWEN_NAMES, "num_experts", _QWEN)
_QWEN2 = Form("qwen2_moe", "mlp", _QWEN_NAMES, "num_experts", {**_QWEN, "qkv_bias": True})
_PLAIN = Form("qwen2_moe", "mlp", _QWEN_NAMES, "num_experts", {**_QWEN, "qkv_bias": False})
FORMS = {
    ("llama", 0): _MIXTRAL, ("mistral", 0): _MIXTRAL, ("qwen3", 0): _QWEN3,
    ("llama", 1): _PLAIN, ("mistral", 1): _PLAIN, ("qwen2", 1): _QWEN2,
}  # fmt: skip
"""From the family of the dense model and the number of shared experts to the mixture whose attention is the same."""


@dataclass(frozen=True, slots=True)
class Upcycled:
    """What was made.

    Attributes:
        path: The model's directory.
        architecture: Its class in `transformers`.
        num_parameters: How many weights it has.
        num_active: How many of them a token uses.
        size_bytes: Size of the directory.
    """

    path: Path
    architecture: str
    num_parameters: int
    num_active: int
    size_bytes: int


def upcycle(model: ModelConfig, output: Path, *, experts: int, top_k: int, shared: int, seed: int) -> Upcycled:
    """Write a mixture of experts that computes what a dense model does. A few files of weights are held at once.

    Args:
        model: The dense model.
        output: Where the mixture goes; must not exist, or be empty.
        experts: Experts in each layer.
        top_k: Experts that each token goes to.
        shared: Experts, 0 or 1, that every token goes to besides.
        seed: Of the routers.

    Raises:
        ModelError: It cannot be made into one, or `output` is taken or cannot be written.
    """
    from safetensors import SafetensorError

    if top_k > experts:
        raise ModelError(
            f"--top-k {top_k}: a token cannot go to more than the {experts} experts that there are.",
            f"Choose at most {experts}, or more --experts.",
        )
    require_free(output)
    source = resolve_model(model)
    dense = load_config(model)
    form = _form(dense, shared)
    config = _configuration(dense, form, experts=experts, top_k=top_k, shared=shared)
    with loading(f"The weights in {source} cannot be read", source):
        architecture, num_parameters, num_active = _counted(config, source, experts)
    try:
        with written_whole(output) as directory:
            for file in source.iterdir():
                if (
                    file.is_file()
                    and not file.name.endswith((*_LEFT_BEHIND, ".index.json"))
                    and file.name != "COMPLETE"
                ):
                    shutil.copy2(file, directory / file.name)
            config.architectures, config.dtype = [architecture], dense.dtype
            config.save_pretrained(directory)
            _write(directory, _tensors(source, form, config, seed=seed))
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The mixture cannot be written to {output}: {error}.",
            "Make room or fix the permissions there, or name another output.",
        ) from error
    size = sum(file.stat().st_size for file in output.iterdir())
    return Upcycled(output, architecture, num_parameters, num_active, size)


def _form(dense: PreTrainedConfig, shared: int) -> Form:
    """How the mixture is written.

    Raises:
        ModelError: The model is sparse already, or no mixture has its attention.
    """
    if getattr(dense, "num_experts_per_tok", None):
        raise ModelError(
            f"A {dense.model_type} is a mixture of experts already: each token goes to {dense.num_experts_per_tok}.",
            "Tune it as it is, or name a dense model.",
        )
    if getattr(dense, "quantization_config", None):
        raise ModelError(
            "The weights are quantised, which copies cannot be.", "Name the model before it was quantised."
        )
    special = ""
    if getattr(dense, "attention_bias", False) or getattr(dense, "mlp_bias", False):
        special = " with biases"
    elif dense.model_type == "qwen3" and dense.use_sliding_window:  # in a Qwen3-MoE, all layers have the window
        special = " with windows in some layers"
    if special or (dense.model_type, shared) not in FORMS:
        known = ", ".join(f"{family} with --shared {number}" for family, number in sorted(FORMS))
        raise ModelError(
            f"No mixture that is known here has the attention of a {dense.model_type}{special}, and {shared} shared "
            "experts.",
            f"There are: {known}.",
        )
    return FORMS[dense.model_type, shared]


def _configuration(dense: PreTrainedConfig, form: Form, *, experts: int, top_k: int, shared: int) -> PreTrainedConfig:
    """That of the mixture: what the two have in common, and the experts."""
    from transformers import CONFIG_MAPPING

    kind = CONFIG_MAPPING[form.type]
    common = kind().to_dict().keys() - {"model_type", "architectures", "transformers_version", "dtype", "head_dim"}
    values = {name: value for name, value in dense.to_dict().items() if name in common}
    width = dense.intermediate_size
    values |= {"num_experts_per_tok": top_k, form.count: experts, "moe_intermediate_size": width, **form.more}
    values |= {"router_aux_loss_coef": _BALANCE, "head_dim": _head_dim(dense)}
    if shared:
        values["shared_expert_intermediate_size"] = width
    if dense.model_type == "mistral" and shared and dense.sliding_window:  # Qwen2-MoE says of each layer what it sees
        values |= {"use_sliding_window": True, "layer_types": ["sliding_attention"] * dense.num_hidden_layers}
    return kind(**values)


def _head_dim(dense: PreTrainedConfig) -> int:
    head_dim: int = getattr(dense, "head_dim", None) or dense.hidden_size // dense.num_attention_heads
    return head_dim


def _counted(config: PreTrainedConfig, source: Path, experts: int) -> tuple[str, int, int]:
    """The class of the mixture, all its parameters, and those that a token uses.

    Raises:
        ModelError: Apart from the feed-forwards, its weights are not those of the files.
    """
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        mixture = AutoModelForCausalLM.from_config(config)
    expected = {name: list(p.shape) for name, p in mixture.state_dict().items() if ".mlp." not in name}
    found: dict[str, list[int]] = {}
    for file in _files(source):
        with safe_open(file, framework="pt") as opened:
            found |= {name: opened.get_slice(name).get_shape() for name in opened.keys() if not _MLP.match(name)}  # noqa: SIM118
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    differing = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    if differing := sorted(set(differing) - tied):
        raise ModelError(
            f"A {config.model_type} has other weights than {source} beside its experts: {differing[0]} is the first of "
            f"{len(differing)}.",
            "Name a model whose files are those of its class.",
        )
    stacked = sum(p.numel() for p in mixture.parameters() if p.ndim == 3)
    total, share = sum(p.numel() for p in mixture.parameters()), config.num_experts_per_tok / experts
    return type(mixture).__name__, total, round(total - stacked * (1 - share))


def _tensors(source: Path, form: Form, config: PreTrainedConfig, *, seed: int) -> Iterator[tuple[str, Tensor]]:
    """The weights of the mixture by their names."""
    import torch
    from safetensors import safe_open

    experts = getattr(config, form.count)
    shared = getattr(config, "shared_expert_intermediate_size", 0)
    generator = torch.Generator().manual_seed(seed)
    for file in _files(source):
        with safe_open(file, framework="pt") as opened:
            for name in sorted(opened.keys()):
                tensor = opened.get_tensor(name)
                if (match := _MLP.match(name)) is None:
                    yield name, tensor
                    continue
                block, part = f"{match[1]}.{form.block}", match[2]
                if shared:
                    yield f"{block}.shared_expert.{part}_proj.weight", tensor
                    tensor = tensor / 2 if part == "down" else tensor  # exact in every format of binary fractions
                for number in range(experts):
                    yield f"{block}.experts.{number}.{form.names[part]}.weight", tensor.clone()
                if part == "gate":
                    router = torch.randn(experts, config.hidden_size, generator=generator) * config.initializer_range
                    yield f"{block}.gate.weight", router.to(tensor.dtype)
                    if shared:
                        yield f"{block}.shared_expert_gate.weight", tensor.new_zeros(1, config.hidden_size)


def _files(source: Path) -> list[Path]:
    """The files of weights; beside them, some models have the same again under other names."""
    return sorted(source.glob("model*.safetensors")) or sorted(source.glob("*.safetensors"))


def _write(directory: Path, tensors: Iterator[tuple[str, Tensor]]) -> None:
    """Write weights as safetensors: files of a limited size, and the index that names them."""
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    held: dict[str, Tensor] = {}
    total = 0

    def flush() -> None:
        file = f"model-{len(set(places.values())) + 1:05d}.safetensors"
        save_file(held, directory / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(held, file))
        held.clear()

    for name, tensor in tensors:
        if held and sum(one.nbytes for one in held.values()) + tensor.nbytes > _FILE_BYTES:
            flush()
        held[name] = tensor.contiguous()
        total += tensor.nbytes
    flush()
    write_json(directory / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})
