"""What operations on tensors without data would allocate and compute."""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

BACKWARD = "backward"
"""The phase of all that autograd does."""

_aten = torch.ops.aten
_ASKS_FOR_A_VALUE = (_aten.equal.default, _aten.is_nonzero.default, _aten._local_scalar_dense.default)


@dataclass(frozen=True, slots=True)
class Shape:
    """A tensor without its values."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Of all its entries; one that is spread over a dimension is stored once."""
        stored = [n for n, step in zip(self.size, self.stride, strict=True) if step]
        return int(torch.Size(stored).numel()) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Call:
    """An operation that computes something.

    Attributes:
        operation: An `aten` operation, or that of another library.
        arguments: Its arguments; a `Shape` stands for every tensor.
        named: Its keyword arguments.
        results: Shapes of what it returns.
    """

    operation: Any
    arguments: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]
    results: tuple[Shape, ...]

    @property
    def name(self) -> str:
        """Of the operation, without its overload: `aten.mm`."""
        return str(self.operation).rpartition(".")[0]

    def shapes(self) -> list[Shape]:
        """Of all tensors that it reads or writes."""
        return [one for one in pytree.tree_leaves((self.arguments, self.named, self.results)) if isinstance(one, Shape)]


VIEW = Call("view", (), (), ())
"""An operation that computes nothing, but is called: hybrid models make more of these than of the others."""

MAPPED_BYTES = 2**25
"""A block of this size has pages of its own, which go back when it is freed; glibc takes smaller ones from a heap that
cannot shrink in the middle (`M_MMAP_THRESHOLD` in mallopt(3): it grows to 32 MiB with what is freed)."""


class Alive(NamedTuple):
    """Bytes that are alive."""

    live: int
    in_heap: int
    """Those of them in blocks below `MAPPED_BYTES`."""


@dataclass(slots=True)
class Phase:
    """A part of a step.

    Attributes:
        alive: After each of its operations, in their order.
        calls: How often each operation ran.
    """

    alive: list[Alive] = field(default_factory=list)
    calls: Counter[Call] = field(default_factory=Counter)


class Trace(TorchDispatchMode):
    """Watches what runs inside it, on tensors of a `FakeTensorMode` that is entered before.

    Where a program asks for a value, it is told 1 (or True): there is none.

    Args:
        known: Tensors that are there already, and do not count.

    Attributes:
        phases: What ran, by the name that was begun.
        live: Bytes alive now.
        in_heap: Those of them in blocks below `MAPPED_BYTES`.
        kept: Bytes that were alive when the first backward pass began.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phases: defaultdict[str, Phase] = defaultdict(Phase)
        self.live = self.in_heap = self.kept = 0
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._name = ""
        for tensor in known:
            self._seen[tensor.untyped_storage()] = 0

    def begin(self, name: str) -> None:
        """What comes now belongs to this phase, but for what a backward pass does."""
        self._name = name

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in ("prim", "profiler"):  # which device, which layout, how long: nothing is computed
            return func(*args, **kwargs)
        if func in _ASKS_FOR_A_VALUE and isinstance(args[0], FakeTensor):
            return True if func is not _aten._local_scalar_dense.default else _one(args[0].dtype)
        result = _run(func, args, kwargs)
        made = [one for one in pytree.tree_leaves(result) if isinstance(one, Tensor)]
        in_backward = torch._C._current_graph_task_id() >= 0
        if in_backward and BACKWARD not in self.phases:
            self.kept = self.phases[self._name].alive[-1].live
        phase = self.phases[BACKWARD if in_backward else self._name]
        if any(one.alias_info is not None and not one.alias_info.is_write for one in func._schema.returns):
            phase.calls[VIEW] += 1
            return result
        for tensor in made:
            self._note(tensor)
        phase.alive.append(Alive(self.live, self.in_heap))
        named = tuple((name, _shapes(value)) for name, value in sorted(kwargs.items()))
        phase.calls[Call(func, _shapes(args), named, tuple(map(_shape, made)))] += 1
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._seen:
            self._seen[storage] = size = storage.nbytes()
            self.live += size
            self.in_heap += _small(size)
            weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.live -= size
        self.in_heap -= _small(size)


def _small(size: int) -> int:
    return size if size < MAPPED_BYTES else 0


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """The result of an operation, also where PyTorch cannot tell its shape."""
    if func is _aten._grouped_mm.default:
        return _grouped(*args)
    if func.namespace == "mkldnn":  # the linear ones of `models/products.py`
        x, weight = args[0], args[2 if func._overloadname == "binary" else 1]
        return x.new_empty(x.shape[0], weight.shape[0])
    return func(*args, **kwargs)


def _grouped(left: Tensor, right: Tensor, ends: Tensor, *_: Any) -> Tensor:
    """The result of products in groups of rows; PyTorch knows it for bfloat16 alone, though it computes others."""
    if left.ndim == right.ndim == 2:
        return left.new_empty(ends.shape[0], left.shape[0], right.shape[1])
    return left.new_empty(left.shape[-2], right.shape[-1])


def _one(dtype: torch.dtype) -> bool | int | float:
    return True if dtype == torch.bool else 1.0 if dtype.is_floating_point else 1


def _shape(tensor: Tensor) -> Shape:
    return Shape(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)


def _shapes(value: Any) -> Any:
    """The same with shapes for tensors, and tuples for lists, so that it can be counted."""
    if isinstance(value, Tensor):
        return _shape(value)
    if isinstance(value, list | tuple):
        return tuple(map(_shapes, value))
    return value
