"""An adapter merged into its base model: a plain Hugging Face model that needs neither PEFT nor this program."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError
from weitiao.export.check import (
    TOLERANCES,
    Agreement,
    Tolerance,
    compare,
    last_logits,
    probe_prompts,
    require_agreement,
)
from weitiao.files import written_whole
from weitiao.generation.generate import write_generation_config
from weitiao.methods.adapter import ADAPTER_CONFIG
from weitiao.methods.base import base_model, find_moved
from weitiao.methods.bottleneck import is_bottleneck
from weitiao.methods.merging import merged
from weitiao.methods.open import OpenModel, find_final, open_model
from weitiao.models.boundary import quiet_transformers
from weitiao.models.config import ModelConfig
from weitiao.models.directory import StoredDtype, require_free, stored_dtype
from weitiao.models.load import OWN, load_model
from weitiao.models.names import resolve_model
from weitiao.models.parts import context_length

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from weitiao.models.scratch import Scratch


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge made.

    Attributes:
        path: The model's directory.
        dtype: The number format of its weights.
        num_parameters: How many weights it has.
        size_bytes: Size of the directory.
        agreement: How far its logits agree with those of base and adapter.
        tolerance: How far they had to.
        seconds: Time that loading, merging, saving and checking took.
    """

    path: Path
    dtype: StoredDtype
    num_parameters: int
    size_bytes: int
    agreement: Agreement
    tolerance: Tolerance
    seconds: float


def merge(
    target: str | Path, output: Path, *, base: ModelConfig | None = None, dtype: StoredDtype | None = None
) -> Merged:
    """Merge the adapter of a run into its base model, save the result, and check what was saved.

    The sums are done in float32 whatever the formats of base and result are; only the result is rounded. Weights stay
    in files, before and after, so that of a plain LoRA no more than a layer is in memory at once. The saved
    model is loaded again from disk (in float32, with plain attention), and its logits on probe prompts are compared
    with those of base and adapter before the merge. `output` appears, complete, when it has passed.

    Args:
        target: A run directory or an adapter directory.
        output: Where the model goes; must not exist, or be empty.
        base: The base model, when it is not the one that the adapter names.
        dtype: Number format of the result; that of the base model's files by default.

    Raises:
        ModelError: There is no adapter, it does not fit its base, or `output` is taken or cannot be written.
        MergeError: The merged model does not answer as base and adapter do. Nothing is left at `output`.
    """
    from safetensors import SafetensorError

    from weitiao.models.scratch import Scratch

    start = time.perf_counter()
    adapter = find_final(target)
    if adapter is None:
        raise ModelError(
            f"{target} is neither a run nor an adapter directory, so there is nothing to merge.",
            "Name a run directory (it holds recipe.yaml), or a directory that holds adapter_config.json.",
        )
    if not (adapter / ADAPTER_CONFIG).exists():
        raise ModelError(
            f"{adapter} is a whole model already, so there is nothing to merge.", "Use it as it is, or copy it."
        )
    if is_bottleneck(adapter):
        raise ModelError(
            f"{adapter} holds bottleneck adapters, which are not linear and cannot be merged into weights.",
            "Use the run as it is; a method such as lora can be merged.",
        )
    require_free(output)
    base = base_model(adapter) if base is None else find_moved(base, adapter)
    dtype = dtype or stored_dtype(resolve_model(base))
    try:  # safetensors reports a full disk by its own exception
        with written_whole(output) as directory:
            opened, scratch = _opened(target, base, Scratch(directory))
            prompts = probe_prompts(opened.tokenizer, max_context=context_length(opened.model.config))
            reference, without = last_logits(opened.model, prompts), _logits_of_base(opened.model, prompts)
            plain = merged(opened.model, scratch)
            num_parameters = int(plain.num_parameters())
            write_plain(plain, opened.tokenizer, directory, dtype, scratch)
            del opened, plain  # what was saved is loaded now; two models would not fit where one just does
            base = base.moved_to(str(directory)).model_copy(
                update={"dtype": "float32", "quantization": None, "map_weights": dtype == "float32"}
            )
            saved = load_model(base, attention=OWN)
            agreement = compare(reference, last_logits(saved, prompts), without)
            require_agreement(agreement, dtype)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The merged model cannot be written to {output}: {error}.",
            "Make room or fix the permissions there, or name another output.",
        ) from error
    return Merged(
        path=output,
        dtype=dtype,
        num_parameters=num_parameters,
        size_bytes=sum(file.stat().st_size for file in output.iterdir()),
        agreement=agreement,
        tolerance=TOLERANCES[dtype],
        seconds=time.perf_counter() - start,
    )


def _logits_of_base(model: PeftModel, prompts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    with warnings.catch_warnings():
        # PEFT warns that trained biases stay switched on. Then the effect is that of the rest of the adapter.
        warnings.simplefilter("ignore", UserWarning)
        with model.disable_adapter():
            return last_logits(model, prompts)


def _opened(target: str | Path, base: ModelConfig, scratch: Scratch) -> tuple[OpenModel, Scratch | None]:
    """Base and adapter in float32, the weights of the base in files; a base that is rounded is in memory, written out
    again, and there are no layers to put aside."""
    import torch

    if base.quantization is not None:
        float32 = base.model_copy(update={"dtype": "float32"})
        return open_model(target, base=float32, attention=OWN, dequantize=True), None
    stored = base.model_copy(update={"dtype": stored_dtype(resolve_model(base)), "map_weights": True})
    opened = open_model(target, base=stored, attention=OWN)
    scratch.move((one for one in opened.model.parameters() if one.dtype != torch.float32), torch.float32)
    opened.model.float()
    return opened, scratch


def rewrite(final: Path, directory: Path, *, base: ModelConfig, dtype: StoredDtype) -> None:
    """Write a model that was tuned whole in a number format; its weights stay in files meanwhile.

    Args:
        final: Where it lies.
        directory: Where it goes; is there.
        base: The base model that it was, for how it is loaded.
        dtype: Number format of the result.
    """
    from weitiao.models.scratch import Scratch

    mapped = base.model_copy(update={"dtype": stored_dtype(final), "map_weights": True, "quantization": None})
    opened = open_model(final, base=mapped, attention=OWN)
    write_plain(opened.model, opened.tokenizer, directory, dtype, Scratch(directory))


def write_plain(
    plain: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    directory: Path,
    dtype: StoredDtype | None,
    scratch: Scratch | None = None,
) -> None:
    """Write a whole model, in a number format or as it is, with its tokenizer and all tokens at which answers end; in
    the memory of a weight where there is a scratch file."""
    import torch

    with quiet_transformers():
        if dtype is not None:
            wanted = getattr(torch, dtype)
            if scratch is not None:
                scratch.move((one for one in plain.parameters() if one.dtype != wanted), wanted)
            plain.to(wanted)
        plain.save_pretrained(str(directory))
        tokenizer.save_pretrained(str(directory))
    write_generation_config(directory, plain, tokenizer)
