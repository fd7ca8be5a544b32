"""The two parts of a causal language model: the decoder, and what turns its states into logits.

Training and generation call them apart, because logits are needed at few of the positions.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from transformers import PreTrainedModel

from weitiao.errors import ModelError
from weitiao.models.products import is_linear


def causal_model(model: nn.Module) -> PreTrainedModel:
    """The causal language model itself, under a PEFT wrapper or without one.

    Raises:
        ModelError: The adapter consists of prompts that the wrapper puts before the input.
    """
    if not is_of_peft(model, "peft", "PeftModel"):
        return cast(PreTrainedModel, model)
    tuned = cast(Any, model)
    if tuned.active_peft_config.is_prompt_learning:
        raise ModelError(
            f"The adapter is of type {tuned.active_peft_config.peft_type.value}, which puts virtual tokens before the "
            "input; weitiao runs adapters that sit inside the layers.",
            "Use an adapter of another type, LoRA for instance.",
        )
    return cast(PreTrainedModel, tuned.get_base_model())


def is_of_peft(module: nn.Module, place: str, name: str) -> bool:
    """Whether a module is of a class of PEFT's, which whoever has such a module has imported: it takes two seconds, and
    bitsandbytes with it, and models are served without."""
    imported = sys.modules.get(place)
    return imported is not None and isinstance(module, getattr(imported, name))


def decoder(model: nn.Module) -> PreTrainedModel:
    """The model without its head: token ids to the final hidden states.

    Args:
        model: A causal language model, possibly with a PEFT adapter inside its layers.

    Returns:
        The module whose output has `last_hidden_state`; the parameters are shared with `model`.

    Raises:
        ModelError: The model's class has no such part.
    """
    causal = causal_model(model)
    return cast(PreTrainedModel, causal._modules[_decoder_name(causal)])


def _decoder_name(causal: PreTrainedModel) -> str:
    """Under which name a causal language model holds its decoder: some classes say another one than they use."""
    whole = [name for name, part in causal.named_children() if isinstance(part, PreTrainedModel)]
    said: str = causal.base_model_prefix
    if said in causal._modules:
        return said
    if len(whole) == 1:
        return str(whole[0])
    raise ModelError(
        f"{type(causal).__name__} does not say which part of it is the decoder and which the head.",
        "Choose a causal language model.",
    )


def layer_list(model: nn.Module) -> nn.ModuleList:
    """The decoder layers: of the lists of modules that are nested least, the longest.

    Raises:
        ModelError: The decoder has no list of layers.
    """
    lists = [(name, one) for name, one in decoder(model).named_modules() if isinstance(one, nn.ModuleList)]
    if not lists:
        raise ModelError(f"{type(model).__name__} has no list of layers.", "Choose a model of another family.")
    return min(lists, key=lambda found: (found[0].count("."), -len(found[1])))[1]


def checkpoint_layers(model: PreTrainedModel, every: int) -> None:
    """Let every so-manieth decoder layer keep its input alone for the backward pass; 0 leaves all as they are.

    Raises:
        ModelError: The layers of this class cannot be computed twice.
    """
    if every:
        if not model.supports_gradient_checkpointing:
            raise ModelError(
                f"train.checkpointing: the layers of {type(model).__name__} cannot be computed a second time.",
                "Leave train.checkpointing out, and model.map_weights on a GPU, or choose a model of another family.",
            )
        model.activation_checkpointing_enable({"use_reentrant": False}, every_n_layers=every)
        model.disable_input_require_grads()  # the other kind of checkpoint needs them; here frozen layers stay frozen


def require_embeddings(model: nn.Module, rows: Iterable[tuple[str, ArrayLike]]) -> None:
    """Refuse tokens without an embedding before they are looked up. Tokens that no row uses do no harm.

    Args:
        model: A causal language model, with or without an adapter.
        rows: Where each row stands, and its token ids.

    Raises:
        ModelError: A row holds such a token.
    """
    causal, size = causal_model(model), vocabulary_size(model)
    for where, ids in rows:
        if (token := int(np.max(np.asarray(ids, np.int64), initial=0))) >= size:
            raise ModelError(
                f"{where}: token {token} has no embedding; {type(causal).__name__} has {size:,} of them.",
                "Take the tokenizer that belongs to the model, or give the model the tokens that were added to it: "
                "model.resize_token_embeddings(len(tokenizer)), then save_pretrained.",
            )


def vocabulary_size(model: nn.Module) -> int:
    """How many embeddings a causal language model has."""
    size: int = causal_model(model).config.get_text_config().vocab_size
    return size


class Readout:
    """Final hidden states [N, D] to logits [N, V]: all that the model's own forward does behind its decoder.

    Caps, scales and layers before the output embedding are in it, whatever a family has, as are the adapters of PEFT.
    It is the model's forward, run on a stand-in: a copy that shares all parts but the decoder, which hands out the
    states it is given.

    Args:
        model: A causal language model, possibly with a PEFT adapter.
    """

    def __init__(self, model: nn.Module) -> None:
        causal = causal_model(model)
        self._head = causal.get_output_embeddings()
        self._standin = copy.copy(causal)
        self._standin._modules = {**causal._modules, _decoder_name(causal): _Given(decoder(causal))}

    def __call__(self, hidden_ND: Tensor) -> Tensor:
        return cast(Tensor, self._standin(inputs_embeds=hidden_ND.unsqueeze(0), use_cache=False).logits[0])

    @torch.no_grad()
    def shortest(self, hidden_1D: Tensor) -> Callable[[Tensor], Tensor]:
        """The output embedding alone, where it is a plain linear layer and gives the same bits; else all of it.

        Args:
            hidden_1D: A state to compare with.
        """
        head = self._head
        # some decoders hand on float32 whatever their weights are; their forward then casts it for the head
        if is_linear(head) and head.weight.dtype == hidden_1D.dtype and torch.equal(head(hidden_1D), self(hidden_1D)):
            return head
        return self


class _Given(nn.Module):
    """A decoder whose final states are those that it was given as input; all that a head asks of it, it has."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.__dict__["real"] = real  # not as a part: the stand-in's parameters are those of the head

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["real"], name)

    def forward(self, *args: Any, **kwargs: Any) -> _Output:
        if "inputs_embeds" not in kwargs:  # handed on by its place among the arguments
            kwargs = inspect.signature(self.__dict__["real"].forward).bind_partial(*args, **kwargs).arguments
        return _Output(kwargs["inputs_embeds"])

    @property
    def decoder(self) -> _Given:
        """Families that were cut from an encoder-decoder ask for it by this name."""
        return self


class _Output:
    """A decoder's output that has final states, and None under every other name."""

    def __init__(self, states: Tensor) -> None:
        self.last_hidden_state = states

    def __getitem__(self, index: int | slice) -> Any:
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def context_length(config: Any) -> int | None:
    """Tokens that a model has positions for, by its configuration; None where it names no limit.

    Args:
        config: Of a model; of one for several kinds of input, the part about text is read.
    """
    length: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout inside the block; gradients are the caller's affair, who may be in the middle of a generator."""
    learning = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(learning)
