"""The two halves of a Llama-style layer as autograd functions that keep little and recompute what is cheap.

Kept per token are the input of each half, the rotated q, k, v, the attention output, and the gate and up
projections. The norms' outputs and the gated product are recomputed; nothing is zero-filled or concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from weitiao.forest.layout import Segment
from weitiao.methods.fused.linear import Joined, LoraLinear, adapter_gradients, add_gradients, slices
from weitiao.methods.fused.parts import rms_backward, rms_forward, rms_scale, rotate_
from weitiao.models.attention_blocks import blocks_backward, blocks_forward

BACKWARD_TOKENS = 1024
"""Rows that the backward pass of the MLP takes at once: its intermediate results then stay in the caches."""


@dataclass(frozen=True, slots=True)
class Norm:
    """An RMSNorm: its frozen gain [D] and epsilon."""

    weight: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class AttentionSpec:
    """What the attention half needs besides tensors that learn."""

    norm: Norm
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

    norm: Norm
    gate_up: tuple[LoraLinear, LoraLinear]
    down: LoraLinear


def adapters(linears: Sequence[LoraLinear]) -> list[Tensor | None]:
    """The tensors that learn, in the order in which `adapter_gradients` returns their gradients."""
    return [tensor for linear in linears for tensor in (linear.lora_a, linear.lora_b)]


class AttentionHalf(torch.autograd.Function):
    """`x + o(attention(rope(qkv(norm(x)))))` for x [T, D].

    Called as `apply(x, spec, *adapters((*spec.qkv, spec.out)))`: the adapters are arguments so that autograd sees
    them; their values are read from the spec.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, spec: AttentionSpec, *learned: Tensor | None) -> Tensor:
        scale = rms_scale(x, spec.norm.eps)
        qkv = Joined.of(*spec.qkv).outputs(rms_forward(x, scale, spec.norm.weight))
        q, k, v = heads(qkv, spec)
        rotate_(rotated(qkv, spec), spec.cos, spec.sin)
        attended, lse = blocks_forward(q, k, v, spec.segments, spec.scale)
        out = Joined.of(spec.out).outputs(flat(attended), onto=x)
        ctx.spec = spec
        ctx.save_for_backward(x, scale, qkv, attended, lse)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_out,) = grad_outputs
        spec: AttentionSpec = ctx.spec
        x, scale, qkv, attended, lse = ctx.saved_tensors
        grad_attended = Joined.of(spec.out).input_gradient(grad_out).unflatten(1, (spec.num_heads, -1)).transpose(0, 1)
        out_grads = adapter_gradients(grad_out, flat(attended), (spec.out,))
        grad_qkv = torch.empty_like(qkv)
        q, k, v = heads(qkv, spec)
        blocks_backward(grad_attended, q, k, v, attended, lse, spec.segments, spec.scale, into=heads(grad_qkv, spec))
        rotate_(rotated(grad_qkv, spec), spec.cos, spec.sin, backward=True)
        normed = rms_forward(x, scale, spec.norm.weight)
        qkv_grads = adapter_gradients(grad_qkv, normed, spec.qkv)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_normed = Joined.of(*spec.qkv).input_gradient(grad_qkv, into=normed)
            grad_x = torch.add(rms_backward(grad_normed, x, scale, spec.norm.weight), grad_out, out=grad_normed)
        return (grad_x, None, *qkv_grads, *out_grads)


class MlpHalf(torch.autograd.Function):
    """`x + down(silu(gate(norm(x))) * up(norm(x)))` for x [T, D].

    Called as `apply(x, spec, *adapters((*spec.gate_up, spec.down)))`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, spec: MlpSpec, *learned: Tensor | None) -> Tensor:
        scale = rms_scale(x, spec.norm.eps)
        gate_up = Joined.of(*spec.gate_up).outputs(rms_forward(x, scale, spec.norm.weight))
        gate, up = gate_up.chunk(2, dim=1)
        out = Joined.of(spec.down).outputs(F.silu(gate).mul_(up), onto=x)
        ctx.spec = spec
        ctx.save_for_backward(x, scale, gate_up)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_out,) = grad_outputs
        spec: MlpSpec = ctx.spec
        x, scale, gate_up = ctx.saved_tensors
        joined_gate_up, joined_down = Joined.of(*spec.gate_up), Joined.of(spec.down)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grads: list[Tensor | None] = []
        size = min(BACKWARD_TOKENS, x.shape[0])
        silus, hiddens = (x.new_empty(size, gate_up.shape[1] // 2) for _ in range(2))
        grad_gate_ups = x.new_empty(size, gate_up.shape[1])
        for rows in slices(x.shape[0], size):
            grad: Tensor = grad_out[rows]
            gate, up = gate_up[rows].chunk(2, dim=1)
            num_rows = grad.shape[0]
            silu = torch.ops.aten.silu.out(gate, out=silus[:num_rows])
            hidden = torch.mul(silu, up, out=hiddens[:num_rows])
            down_grads = adapter_gradients(grad, hidden, (spec.down,))
            grad_hidden = joined_down.input_gradient(grad, into=hidden)
            grad_gate_up = grad_gate_ups[:num_rows]
            grad_gate, grad_up = grad_gate_up.chunk(2, dim=1)
            torch.mul(grad_hidden, silu, out=grad_up)
            torch.ops.aten.silu_backward.grad_input(grad_hidden.mul_(up), gate, grad_input=grad_gate)
            normed = rms_forward(x[rows], scale[rows], spec.norm.weight)
            grads = add_gradients(grads, [*adapter_gradients(grad_gate_up, normed, spec.gate_up), *down_grads])
            if grad_x is not None:
                grad_normed = joined_gate_up.input_gradient(grad_gate_up, into=grad_x[rows])
                torch.add(rms_backward(grad_normed, x[rows], scale[rows], spec.norm.weight), grad, out=grad_x[rows])
        return (grad_x, None, *grads)


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
