"""The two halves of a decoder layer as autograd functions that keep little and recompute what is cheap.

Kept per token are the input of each half, the rotated q, k, v, the attention output, and the gate and up
projections; what a norm reads, where there is one after a half, and q, k as they were before their norms. The norms'
outputs and the gated product are recomputed; nothing is zero-filled or concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weitiao.forest.layout import Segment
from weitiao.methods.fused.forms import Activation, Norm
from weitiao.methods.fused.linear import Joined, LoraLinear, adapter_gradients, add_gradients, slices
from weitiao.methods.fused.parts import normed, normed_backward, rotate_, scale_of
from weitiao.models.attention_blocks import blocks_backward, blocks_forward

BACKWARD_TOKENS = 1024
"""Rows that the backward pass of the MLP takes at once: its intermediate results then stay in the caches."""


@dataclass(frozen=True, slots=True)
class AttentionSpec:
    """What the attention half needs besides tensors that learn."""

    before: Norm | None
    after: Norm | None
    query_key: tuple[Norm, Norm] | None
    qkv: tuple[LoraLinear, LoraLinear, LoraLinear]
    out: LoraLinear
    cos: Tensor
    sin: Tensor
    segments: tuple[Segment, ...]
    num_heads: int
    num_key_heads: int
    scale: float


@dataclass(frozen=True, slots=True)
class MlpSpec:
    """What the gated MLP half needs besides tensors that learn."""

    before: Norm | None
    after: Norm | None
    gate_up: tuple[LoraLinear, LoraLinear]
    down: LoraLinear
    activation: Activation


def adapters(linears: Sequence[LoraLinear]) -> list[Tensor | None]:
    """The tensors that learn, in the order in which `adapter_gradients` returns their gradients."""
    return [tensor for linear in linears for tensor in (linear.lora_a, linear.lora_b)]


class AttentionHalf(torch.autograd.Function):
    """`x + after(o(attention(rope(norm(qkv(before(x)))))))` for x [T, D], each norm where there is one.

    Called as `apply(x, spec, *adapters((*spec.qkv, spec.out)))`: the adapters are arguments so that autograd sees
    them; their values are read from the spec.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, spec: AttentionSpec, *learned: Tensor | None) -> Tensor:
        scale = scale_of(x, spec.before)
        projected = Joined.of(*spec.qkv).outputs(normed(x, scale, spec.before))
        qkv = turned(projected, spec)
        q, k, v = heads(qkv, spec)
        attended, lse = blocks_forward(q, k, v, spec.segments, spec.scale)
        out, y = _onto(x, flat(attended), spec.out, spec.after)
        ctx.spec = spec
        ctx.save_for_backward(x, scale, projected, attended, lse, y)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_out,) = grad_outputs
        spec: AttentionSpec = ctx.spec
        x, scale, projected, attended, lse, y = ctx.saved_tensors
        grad_y = _through(grad_out, y, spec.after)
        grad_attended = Joined.of(spec.out).input_gradient(grad_y).unflatten(1, (spec.num_heads, -1)).transpose(0, 1)
        out_grads = adapter_gradients(grad_y, flat(attended), (spec.out,))
        grad_qkv = torch.empty_like(projected)
        q, k, v = heads(projected if spec.query_key is None else turned(projected, spec), spec)
        blocks_backward(grad_attended, q, k, v, attended, lse, spec.segments, spec.scale, into=heads(grad_qkv, spec))
        rotate_(rotated(grad_qkv, spec), spec.cos, spec.sin, backward=True)
        norms = spec.query_key or ()
        for grad, part, norm in zip(_normed_parts(grad_qkv, spec), _normed_parts(projected, spec), norms, strict=True):
            grad.copy_(normed_backward(grad, part, scale_of(part, norm), norm))
        read = normed(x, scale, spec.before)
        qkv_grads = adapter_gradients(grad_qkv, read, spec.qkv)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_read = Joined.of(*spec.qkv).input_gradient(grad_qkv, into=None if spec.before is None else read)
            grad_x = torch.add(normed_backward(grad_read, x, scale, spec.before), grad_out, out=grad_read)
        return (grad_x, None, *qkv_grads, *out_grads)


class MlpHalf(torch.autograd.Function):
    """`x + after(down(act(gate(before(x))) * up(before(x))))` for x [T, D], each norm where there is one.

    Called as `apply(x, spec, *adapters((*spec.gate_up, spec.down)))`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, spec: MlpSpec, *learned: Tensor | None) -> Tensor:
        scale = scale_of(x, spec.before)
        gate_up = Joined.of(*spec.gate_up).outputs(normed(x, scale, spec.before))
        gate, up = gate_up.chunk(2, dim=1)
        out, y = _onto(x, spec.activation.of(gate).mul_(up), spec.down, spec.after)
        ctx.spec = spec
        ctx.save_for_backward(x, scale, gate_up, y)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_out,) = grad_outputs
        spec: MlpSpec = ctx.spec
        x, scale, gate_up, y = ctx.saved_tensors
        joined_gate_up, joined_down = Joined.of(*spec.gate_up), Joined.of(spec.down)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grads: list[Tensor | None] = []
        size = min(BACKWARD_TOKENS, x.shape[0])
        acts, hiddens = (x.new_empty(size, gate_up.shape[1] // 2) for _ in range(2))
        grad_gate_ups = x.new_empty(size, gate_up.shape[1])
        for rows in slices(x.shape[0], size):
            grad: Tensor = grad_out[rows]
            grad_y = _through(grad, None if y is None else y[rows], spec.after)
            gate, up = gate_up[rows].chunk(2, dim=1)
            num_rows = grad.shape[0]
            act = spec.activation.of(gate, out=acts[:num_rows])
            hidden = torch.mul(act, up, out=hiddens[:num_rows])
            down_grads = adapter_gradients(grad_y, hidden, (spec.down,))
            grad_hidden = joined_down.input_gradient(grad_y, into=hidden)
            grad_gate_up = grad_gate_ups[:num_rows]
            grad_gate, grad_up = grad_gate_up.chunk(2, dim=1)
            torch.mul(grad_hidden, act, out=grad_up)
            spec.activation.backward(grad_hidden.mul_(up), gate, into=grad_gate)
            scales = None if scale is None else scale[rows]
            read = normed(x[rows], scales, spec.before)
            grads = add_gradients(grads, [*adapter_gradients(grad_gate_up, read, spec.gate_up), *down_grads])
            if grad_x is not None:
                grad_read = joined_gate_up.input_gradient(grad_gate_up, into=grad_x[rows])
                torch.add(normed_backward(grad_read, x[rows], scales, spec.before), grad, out=grad_x[rows])
        return (grad_x, None, *grads)


def _onto(x: Tensor, inner: Tensor, last: LoraLinear, after: Norm | None) -> tuple[Tensor, Tensor | None]:
    """What a half gives, and what its last norm reads, where there is one."""
    if after is None:
        return Joined.of(last).outputs(inner, onto=x), None
    y = Joined.of(last).outputs(inner)
    return normed(y, scale_of(y, after), after).add_(x), y


def _through(grad_out: Tensor, y: Tensor | None, after: Norm | None) -> Tensor:
    """The gradient with regard to what the last norm of a half reads."""
    if y is None:
        return grad_out
    return normed_backward(grad_out.clone(), y, scale_of(y, after), after).to(y.dtype)


def turned(projected: Tensor, spec: AttentionSpec) -> Tensor:
    """q, k, v for attention, of what the projections give [T, (H + 2 K) D]: in place, unless norms need that again."""
    qkv = projected if spec.query_key is None else projected.clone()
    for part, norm in zip(_normed_parts(qkv, spec), spec.query_key or (), strict=True):
        part.copy_(normed(part, scale_of(part, norm), norm))
    rotate_(rotated(qkv, spec), spec.cos, spec.sin)
    return qkv


def _normed_parts(qkv: Tensor, spec: AttentionSpec) -> list[Tensor]:
    """Views of queries and of keys as their norms see them: [T, heads, D], or [T, 1, heads D]; none without norms."""
    if spec.query_key is None:
        return []
    width = qkv.shape[1] // (spec.num_heads + 2 * spec.num_key_heads)
    parts = qkv.split([spec.num_heads * width, spec.num_key_heads * width, spec.num_key_heads * width], dim=1)
    return [part.unflatten(1, (-1, len(norm.weight))) for part, norm in zip(parts[:2], spec.query_key, strict=True)]


def heads(qkv: Tensor, spec: AttentionSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Views q [H, T, D] and k, v [K, T, D] of qkv [T, (H + 2 K) D]."""
    sizes = (spec.num_heads, spec.num_key_heads, spec.num_key_heads)
    all_heads: Tensor = qkv.unflatten(1, (sum(sizes), -1)).transpose(0, 1)
    q, k, v = all_heads.split(sizes)
    return q, k, v


def rotated(qkv: Tensor, spec: AttentionSpec) -> Tensor:
    """The view [T, H + K, D] of qkv that is rotated: queries and keys."""
    turned = spec.num_heads + spec.num_key_heads
    view: Tensor = qkv.unflatten(1, (turned + spec.num_key_heads, -1))[:, :turned]
    return view


def flat(attended: Tensor) -> Tensor:
    """[T, H D] of [H, T, D], without a copy when the memory is laid out token by token."""
    tokens: Tensor = attended.transpose(0, 1).flatten(1)
    return tokens
