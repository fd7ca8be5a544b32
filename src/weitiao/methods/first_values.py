"""How the matrices of LoRA begin, where more than chance decides: the weights, their rounding error, or the data."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

    from weitiao.forest.layout import Forest


def eva(model: PeftModel, forests: Sequence[Forest]) -> None:
    """First matrices that span what the layers' inputs vary in most (EVA, https://arxiv.org/abs/2410.07170).

    Every layer keeps its rank. A token that several rows share counts once, as it is computed.

    Args:
        model: With `init_lora_weights="eva"`.
        forests: Data to look at, as often as needed until the directions no longer change.

    Raises:
        ModelError: No forest has as many tokens as an adapter has ranks.
    """
    from peft import initialize_lora_eva_weights

    from weitiao.models.losses import token_losses

    rank = model.peft_config["default"].r
    longest = max(len(forest.layout.token_ids) for forest in forests)
    if longest < rank:
        raise ModelError(
            f"method.init: eva needs at least as many tokens in a forest as method.r={rank}; there are {longest}.",
            "Lower method.r, or raise train.batch_size.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a forest is no tensor that PEFT could move to a device
        initialize_lora_eva_weights(
            model,
            forests,
            forward_fn=token_losses,
            prepare_model_inputs_fn=lambda forest, config: None,
            prepare_layer_inputs_fn=lambda inputs, forest, name: inputs[0].flatten(0, -2),
            gather_distributed_inputs=False,
            show_progress_bar=False,
        )


def loftq(model: PeftModel, directory: Path) -> None:
    """First matrices that make up for what rounding did to the weights, as well as their rank allows.

    LoftQ (https://arxiv.org/abs/2310.08659, algorithm 1) with one alternation: there the rounded weights are those
    that the model was loaded with, so they need not be saved.

    Args:
        model: LoRA on a quantised model.
        directory: Of the model with its weights before they were rounded.

    Raises:
        ModelError: The files there have other weights.
    """
    import torch
    from peft.tuners.lora import LoraLayer
    from peft.utils.integrations import dequantize_module_weight
    from safetensors import safe_open

    places: dict[str, Path] = {}
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            places.update(dict.fromkeys(file.keys(), path))
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer) or layer.base_layer.weight.is_floating_point():
            continue
        stored = f"{name.removeprefix('base_model.model.')}.weight"
        if stored not in places:
            raise ModelError(
                f"method.init: {directory} has no weight {stored} to compare the rounded one with.",
                "Choose another init, or a model whose files have its weights by the names of its layers.",
            )
        with torch.no_grad(), safe_open(places[stored], framework="pt") as file:
            rounded = dequantize_module_weight(layer.base_layer).float()
            error = file.get_tensor(stored).to(rounded) - rounded
            left, sizes, right = torch.linalg.svd(error, full_matrices=False)
            rank = layer.r["default"]
            root = (sizes[:rank] / layer.scaling["default"]).sqrt()
            layer.lora_A["default"].weight.copy_(root[:, None] * right[:rank])
            layer.lora_B["default"].weight.copy_(left[:, :rank] * root)


def values_of(model: PeftModel) -> dict[str, Tensor]:
    """A copy of the adapters as they are, by PEFT's names.

    Raises:
        ModelError: A layer is too small for the rank.
    """
    from peft import get_peft_model_state_dict
    from peft.tuners.lora import LoraLayer

    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer) and layer.lora_A and len(layer.lora_A["default"].weight) < layer.r["default"]:
            raise ModelError(
                f"method.r: {name} has only {len(layer.lora_A['default'].weight)} singular values, fewer than "
                f"{layer.r['default']}.",
                "Lower method.r, or give this layer a lower one with method.rank_pattern.",
            )
    return {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(model).items()}


def save_converted(model: PeftModel, directory: Path, first: dict[str, Tensor], **options: Any) -> None:
    """Save adapters whose first values were taken out of the base weights so that they fit the original base.

    What was learned is `BA - B0 A0`, an adapter of twice the rank (PEFT's own conversion).

    Args:
        model: After the training.
        directory: Where the adapter goes.
        first: `values_of` the model before the training.
        options: Further ones of `save_pretrained`.
    """
    from peft.utils import SAFETENSORS_WEIGHTS_NAME
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PEFT advises to do what is done here
        before = Path(folder) / "first"
        before.mkdir()
        save_file({name: tensor.contiguous() for name, tensor in first.items()}, before / SAFETENSORS_WEIGHTS_NAME)
        model.save_pretrained(str(directory), path_initial_model_for_weight_conversion=str(before), **options)
