"""Many LoRA adapters over one base model, mixed in a batch.

The matrices of all adapters lie side by side in every layer, as those of one adapter of a large rank: a token's product
with A keeps the columns of its own adapter and loses the others, and one product with all B gives what is added. Few
large products take less time than many small ones, on a CPU above all (compare S-LoRA,
https://arxiv.org/abs/2311.03285, section 5, which gathers each token's adapter in a kernel of its own).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from weitiao.methods.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_adapter_config
from weitiao.methods.note import BELOW
from weitiao.models.asking import attention_function
from weitiao.models.boundary import loading
from weitiao.models.parts import causal_model
from weitiao.serve.engine import ServeError

_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_REMEDY = "Serve it as a model of its own (a run, or what `weitiao merge` makes of it)."


@dataclass(frozen=True, slots=True)
class Adapter:
    """A plain LoRA adapter, read from disk.

    Attributes:
        layers: By the name of a module, A [r, in] and B [r, out], the scale in it.
    """

    layers: Mapping[str, tuple[Tensor, Tensor]]


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter of PEFT."""
    return (directory / ADAPTER_CONFIG).exists()


def is_plain(directory: Path) -> bool:
    """Whether an adapter is plain LoRA, and can stand beside others.

    Raises:
        ModelError: It is damaged, or no adapter for language models.
    """
    try:
        read_adapter(directory)
    except ServeError:
        return False
    return True


def read_adapter(directory: Path) -> Adapter:
    """Read an adapter in PEFT's format.

    Raises:
        ModelError: It is damaged, or no adapter for language models.
        ServeError: It is more than matrices beside linear layers.
    """
    from peft import LoraConfig
    from peft.utils.other import get_pattern_key
    from safetensors.torch import load_file

    config = read_adapter_config(directory)
    if not isinstance(config, LoraConfig) or type(config) is not LoraConfig:
        raise _not_plain(directory, f"is of type {getattr(config.peft_type, 'value', config.peft_type)}")
    if (directory / BELOW).exists():
        raise _not_plain(directory, "stands on another one, which was merged into the base model")
    if getattr(config, "alora_invocation_tokens", None):
        raise _not_plain(directory, "is switched on by tokens (aLoRA)")
    with loading(f"The adapter in {directory} cannot be read", directory, packages=("safetensors",)):
        tensors = load_file(directory / ADAPTER_WEIGHTS)
    matrices: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if not (found := _KEY.fullmatch(key)) or tensor.ndim != 2:
            raise _not_plain(directory, f"has {key}")
        matrices.setdefault(found[1], {})[found[2]] = tensor.float()
    layers = {}
    for name, pair in matrices.items():
        if pair.keys() != {"A", "B"}:
            raise _not_plain(directory, f"has one matrix of two for {name}")
        rank = len(pair["A"])
        alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern, name), config.lora_alpha)
        scale = alpha / (rank**0.5 if config.use_rslora else rank)
        layers[name] = (pair["A"].contiguous(), (pair["B"] * scale).T.contiguous())
    return Adapter(layers)


def _not_plain(directory: Path, why: str) -> ServeError:
    return ServeError(f"The adapter in {directory} {why}: only plain LoRA can stand beside others.", _REMEDY)


@dataclass(slots=True)
class _Stack:
    """The matrices of all adapters in one module: A [R, in] and B [R, out], and which rows are whose."""

    first: Tensor
    second: Tensor
    spans: dict[Hashable, slice] = field(default_factory=dict)

    def add(self, name: Hashable, first: Tensor, second: Tensor) -> None:
        size = len(self.first)
        self.first, self.second = torch.cat([self.first, first]), torch.cat([self.second, second])
        self.spans[name] = slice(size, len(self.first))

    def remove(self, name: Hashable) -> None:
        gone = self.spans.pop(name)
        self.first, self.second = (
            torch.cat([one[: gone.start], one[gone.stop :]]) for one in (self.first, self.second)
        )
        width = gone.stop - gone.start
        self.spans = {
            other: slice(span.start - width, span.stop - width) if span.start >= gone.stop else span
            for other, span in self.spans.items()
        }


class Adapters:
    """Adapters on a base model, which each token has its own of.

    Args:
        model: A causal language model without an adapter. Its linear layers get hooks, as adapters come.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = causal_model(model)
        self._whole = _run_on_every_token(self._model)
        self._stacks: dict[str, _Stack] = {}
        self._names: set[Hashable] = set()
        self._runs: list[tuple[Hashable, int]] = []
        self._alone: set[Hashable] = set()
        self._masks: dict[tuple[tuple[Hashable, int, int], ...], Tensor] = {}

    def __contains__(self, name: Hashable) -> bool:
        return name in self._names

    def require_fit(self, adapter: Adapter, directory: Path) -> None:
        """Refuse an adapter that has no place here.

        Raises:
            ServeError: A module that it changes is not in the model, of another size, or not run on every token.
        """
        modules = dict(self._model.named_modules())
        for name, (first, second) in adapter.layers.items():
            module = modules.get(name)
            if module is None or name not in self._whole or (sizes := _sizes(module)) is None:
                raise _not_plain(directory, f"changes {name}, which is no linear layer that every token runs through")
            if sizes != (first.shape[1], second.shape[1]):
                raise ServeError(
                    f"The adapter in {directory} is for a {name} of {first.shape[1]} by {second.shape[1]}; here it is "
                    f"{sizes[0]} by {sizes[1]}.",
                    "Serve the base model that the adapter was trained on.",
                )

    def add(self, name: Hashable, adapter: Adapter) -> None:
        """Take an adapter that fits (`require_fit`)."""
        modules = dict(self._model.named_modules())
        device = self._model.device
        for key, (first, second) in adapter.layers.items():
            stack = self._stacks.get(key)
            if stack is None:
                empty = (one[:0].to(device) for one in (first, second))
                stack = self._stacks[key] = _Stack(next(empty), next(empty))
                modules[key].register_forward_hook(_Hook(self, stack))
            stack.add(name, first.to(device), second.to(device))
        self._names.add(name)

    def remove(self, name: Hashable) -> None:
        """Let go of an adapter."""
        for stack in self._stacks.values():
            if name in stack.spans:
                stack.remove(name)
        self._names.discard(name)

    def route(self, runs: Sequence[tuple[Hashable, int]]) -> None:
        """Say whose the tokens of the next call are, in their order: so many for each; None is the base."""
        self._runs, self._masks = list(runs), {}
        self._alone = {whose for whose, _ in runs}

    def change(self, stack: _Stack, given: Tensor, out: Tensor) -> Tensor:
        """The output [1, T, O] of a module for its input [1, T, I], with what adapters add."""
        used = [name for name in self._alone if name in stack.spans]
        if not used:
            return out
        inner = given.flatten(0, -2).to(stack.first.dtype)
        if len(self._alone) == 1:  # all tokens are of one adapter
            span = stack.spans[used[0]]
            product = inner @ stack.first[span].T
            second = stack.second[span]
        else:
            product = (inner @ stack.first.T).mul_(self._mask(stack))
            second = stack.second
        base = out.flatten(0, -2).to(second.dtype)
        return torch.addmm(base, product, second).to(out.dtype).view_as(out)

    def _mask(self, stack: _Stack) -> Tensor:
        """[T, R]: 1 where a column is of a token's own adapter, else 0."""
        form = tuple((name, span.start, span.stop) for name, span in stack.spans.items())
        if form not in self._masks:
            own = torch.zeros(sum(size for _, size in self._runs), len(stack.first))
            start = 0
            for name, size in self._runs:
                if name in stack.spans:
                    own[start : start + size, stack.spans[name]] = 1
                start += size
            self._masks[form] = own.to(stack.first)
        return self._masks[form]


@torch.no_grad()
def _run_on_every_token(model: PreTrainedModel) -> set[str]:
    """The modules that are called once, with all tokens of a row: not experts, and not the head."""
    calls: dict[str, list[bool]] = {}
    num_tokens, handles = 3, []
    head = model.get_output_embeddings()
    for name, module in model.named_modules():

        def note(module: nn.Module, given: tuple[Any, ...], name: str = name) -> None:
            whole = bool(given) and isinstance(given[0], Tensor) and given[0].shape[:2] == (1, num_tokens)
            calls.setdefault(name, []).append(whole)

        if module is not head:
            handles.append(module.register_forward_pre_hook(note))
    with attention_function(model, "eager"):
        model(input_ids=torch.arange(num_tokens, device=model.device)[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return {name for name, whole in calls.items() if whole == [True]}


class _Hook:
    """Changes the output of a module."""

    def __init__(self, adapters: Adapters, stack: _Stack) -> None:
        self._adapters, self._stack = adapters, stack

    def __call__(self, module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
        return self._adapters.change(self._stack, given[0], out)


def _sizes(module: Any) -> tuple[int, int] | None:
    """Of how many numbers a linear layer makes how many; None where it is none."""
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D":  # of GPT-2: its weight is [in, out]
        return module.nx, module.nf
    return None
