"""Before a forest is run: does this model give in it what it gives for each row alone?

Families differ in more ways than a list of names can hold: recurrent layers, convolutions, rotations that depend on
the longest row of a call, masks of their own, attention of their own. So it is measured, on a few pieces of real rows:
the model's own forward, with the attention of `transformers`, against the losses that training and evaluation compute.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from weitiao.errors import ModelError
from weitiao.forest.layout import Forest, build_forest
from weitiao.models.alone import branches, let_branch
from weitiao.models.asking import asked, attention_function
from weitiao.models.attention import computing_by, runs_alone, set_backend
from weitiao.models.boundary import loading, quiet_transformers
from weitiao.models.config import AttentionName
from weitiao.models.in_float32 import has_outliers, in_float32, input_rounding
from weitiao.models.losses import token_losses
from weitiao.models.parts import causal_model, decoder, evaluating
from weitiao.rendering.items import TokenSequence, as_items

_logger = logging.getLogger(__name__)

ANOTHER = "Choose a model of another family."
TRUNK, BRANCH, SHORT = 16, 8, 6
"""Tokens of a piece, of what two pieces share, and of the piece that stands apart."""

ROUNDING = {torch.float32: 1e-4, torch.float16: 0.03, torch.bfloat16: 0.1}
"""How far losses may be apart, as a share of them. Two attention functions of `transformers` were apart by 1e-6, 0.4 %
and 5 % on SmolLM2-135M; what is computed wrongly in float32 was apart by 0.02 % to 24 % in 34 families."""


_found_exact: WeakKeyDictionary[nn.Module, dict[bool, int]] = WeakKeyDictionary()
"""Of each model that is alive and was tried: the longest row, by whether rows shared beginnings."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Part of a row: its token ids, and the position of the first."""

    token_ids: tuple[int, ...]
    start: int = 0


def probe_forest(model: nn.Module, rows: Sequence[ArrayLike], *, longest: int, share_prefixes: bool = True) -> None:
    """Refuse a model that gives in a forest other losses than for each row alone.

    Two pieces share a beginning; a third lies beside them, at the positions where the longest row ends: what a model
    makes of long rows shows without computing one.

    Args:
        model: A causal language model loaded with forest attention, possibly with a PEFT adapter; in the state in
            which it is to run, fused layers included.
        rows: Token ids of real rows, of which the first few are used.
        longest: Positions that the longest row takes, answer included.
        share_prefixes: Whether rows are to share beginnings.

    Raises:
        ModelError: The losses differ by more than rounding explains, or the model cannot be run in a forest at all.
    """
    if not rows:
        return
    name = type(causal_model(model)).__name__

    def require(trial: _Trial) -> None:
        if (error := trial.error(longest, share_prefixes=share_prefixes)) > trial.tolerance:
            raise ModelError(*_refusal(trial, name, error, longest, share_prefixes))

    _try(model, rows, f"{name} cannot be run on a forest of rows", require)


def forest_or_alone(
    model: nn.Module, rows: Sequence[ArrayLike], *, longest: int, share_prefixes: bool = True
) -> str | None:
    """Have a model run in forests of rows where that is exact, and each row alone where it is not.

    Args:
        model, rows, longest, share_prefixes: As for `probe_forest`. A model that runs alone already goes on so.

    Returns:
        Why rows run alone, for a person to read; None where forests are exact, or rows ran alone before.

    Raises:
        ModelError: The model cannot be run either way.
    """
    if not rows:
        return None
    if runs_alone(model):
        _require_exact_alone(model, rows)
        return None
    try:
        probe_forest(model, rows, longest=longest, share_prefixes=share_prefixes)
    except ModelError as error:
        set_backend(model, "alone")
        try:
            _require_exact_alone(model, rows)
        except ModelError:
            raise error from None  # what it is that forests of this model lack says more
        let_branch(decoder(model), copies_state=share_prefixes and _branches_exactly(model, rows))
        once = ", what they begin with once for all" if branches(decoder(model)) else ""
        return f"{error.what} So its rows are run one after another{once}, which is exact, and slower."
    return None


def probe_once(model: nn.Module, rows: Sequence[ArrayLike], *, longest: int, share_prefixes: bool = True) -> None:
    """Do as `forest_or_alone` does, unless this model was tried for rows as long: a trial takes a second or two."""
    known = _found_exact.setdefault(model, {})
    if rows and longest > known.get(share_prefixes, 0):
        if (why := forest_or_alone(model, rows, longest=longest, share_prefixes=share_prefixes)) is not None:
            _logger.warning("%s", why)
        known |= {True: sys.maxsize, False: sys.maxsize} if runs_alone(model) else {share_prefixes: longest}


def _require_exact_alone(model: nn.Module, rows: Sequence[ArrayLike]) -> None:
    """Refuse a model that, taken apart into decoder and head, gives other losses than whole."""
    name = type(causal_model(model)).__name__

    def require(trial: _Trial) -> None:
        if (error := trial.error_alone()) > trial.tolerance:
            raise ModelError(_differs(name, error, "already when a row is computed alone", trial), ANOTHER)

    _try(model, rows, f"{name} cannot be run", require)


def _branches_exactly(model: nn.Module, rows: Sequence[ArrayLike]) -> bool:
    """Whether losses and gradients stay when a shared beginning is run once and its state copied for every row."""
    try:
        with evaluating(model), quiet_transformers():
            with in_float32(model) as short, torch.no_grad():
                if short and not _same_by_branches(model, rows, _losses):
                    return False
            return _same_by_branches(model, rows, _with_gradient)
    except Exception as error:  # noqa: BLE001 (models raise anything for a state that they do not take)
        _logger.debug("State cannot be copied: %s", error)
        return False


def _same_by_branches(
    model: nn.Module, rows: Sequence[ArrayLike], find: Callable[[nn.Module, Sequence[_Piece]], Tensor]
) -> bool:
    """Whether what is found for two pieces that branch is the same with copies of the state as without."""
    network, trial, found = decoder(model), _Trial(model, _pool(rows)), []
    try:
        for copies in (False, True):
            let_branch(network, copies_state=copies)
            if copies and not branches(network):
                return False
            found.append(find(model, trial.pieces(0)[:2]))
    finally:
        let_branch(network, copies_state=False)
    plain, branched = found
    return bool((plain - branched).norm() <= trial.tolerance * plain.norm())


def _losses(model: nn.Module, pieces: Sequence[_Piece]) -> Tensor:
    return torch.cat(_forest_losses(model, pieces, "auto", share_prefixes=True))


@torch.enable_grad()
def _with_gradient(model: nn.Module, pieces: Sequence[_Piece]) -> Tensor:
    """The losses of pieces in one forest, and the gradient of their sum with regard to the embedded tokens, summed."""
    seen: list[Tensor] = []

    def note(module: nn.Module, given: Any, out: Tensor) -> Tensor:
        seen.append(out.detach().requires_grad_())
        return seen[-1]

    hook = causal_model(model).get_input_embeddings().register_forward_hook(note)
    try:
        losses = _losses(model, pieces)
    finally:
        hook.remove()
    gradients = torch.autograd.grad(losses.sum(), seen)
    return torch.cat([losses.detach(), torch.stack([one[0].double().cpu().sum(0) for one in gradients]).sum(0)])


def _try(model: nn.Module, rows: Sequence[ArrayLike], what: str, require: Callable[[_Trial], None]) -> None:
    """Try a model as it is, and before that one in a short format in float32: there rounding hides no mistake. One that
    rounds its inputs is tried without: as it is, any two computations are far apart.

    Args:
        what: That it cannot be done, if the model raises.
        require: Raises where a trial shows too much of a difference.
    """
    with loading(what, remedy=ANOTHER), evaluating(model), torch.no_grad():
        with in_float32(model) as short:
            if short:  # the kernel of a GPU would be compiled for this alone
                require(_Trial(model, _pool(rows), "dense" if causal_model(model).device.type == "cuda" else "auto"))
        if not (short and input_rounding(model)):
            require(_Trial(model, _pool(rows)))


class _Trial:
    """Compares the two ways of computing the pieces of a pool of real tokens."""

    def __init__(self, model: nn.Module, pool: tuple[int, ...], backend: AttentionName = "auto") -> None:
        self.model, self._backend = model, backend
        first, other = pool[:TRUNK], pool[TRUNK : 2 * TRUNK - BRANCH]
        self._near = [_Piece(first), _Piece(first[:BRANCH] + _unlike(first[BRANCH], other))]
        self._apart = _unlike(first[0], pool[-SHORT:])
        self._plain: dict[_Piece, Tensor] = {}
        self.tolerance = ROUNDING[causal_model(model).dtype]

    def pieces(self, longest: int) -> list[_Piece]:
        """Two that branch, and one that ends where the longest row ends."""
        return [*self._near, _Piece(self._apart, longest - SHORT if longest > TRUNK else 0)]

    def error(self, longest: int, *, share_prefixes: bool) -> float:
        """How far the losses are apart, as a share of them; infinite where a mask of the model's own differs."""
        pieces = self.pieces(longest)
        found = _forest_losses(self.model, pieces, self._backend, share_prefixes=share_prefixes)
        error = self._difference(pieces, found)
        return error if error > self.tolerance or _masks_agree(self.model, pieces[-1], longest) else float("inf")

    def error_alone(self) -> float:
        """The same for pieces that are each a forest of their own."""
        pieces = [[piece] for piece in self._near]
        found = [_forest_losses(self.model, one, self._backend, share_prefixes=False) for one in pieces]
        return max(map(self._difference, pieces, found))

    def _difference(self, pieces: Sequence[_Piece], found: Sequence[Tensor]) -> float:
        # Nine of ten: in a short type, a router's choice between two experts may tip for single tokens.
        errors = []
        for piece, losses in zip(pieces, found, strict=True):
            if piece not in self._plain:
                self._plain[piece] = _plain_losses(self.model, piece)
            expected = self._plain[piece]
            apart = (losses - expected).abs().nan_to_num(torch.inf).masked_fill(~expected.isfinite(), 0)
            apart = apart.quantile(0.9, interpolation="lower")
            errors.append(float(apart) / max(1.0, float(expected.nanmean())))
        return max(errors)


def _refusal(trial: _Trial, name: str, error: float, longest: int, share_prefixes: bool) -> tuple[str, str]:
    """What is wrong, found by adding one difficulty after the other; and what to do."""
    alone, beside = trial.error_alone(), trial.error(0, share_prefixes=False)
    if has_outliers(trial.model):
        when = "because its layers in eight bits treat all tokens alike wherever one of them is an outlier"
        return _differs(name, error, when, trial), 'Set "llm_int8_threshold": 0.0 in its config.json.'
    if alone > trial.tolerance:
        when = "already when a row is computed alone: it attends, or makes its logits, in a way of its own"
        return _differs(name, alone, when, trial), ANOTHER
    if beside > trial.tolerance:
        when = "as soon as rows lie side by side: its layers do not keep them apart"
        return _differs(name, beside, when, trial), ANOTHER
    if share_prefixes and (shared := trial.error(0, share_prefixes=True)) > trial.tolerance:
        remedy = "Set share_prefixes to false (train.share_prefixes, evaluate.generation.share_prefixes)."
        when = "as soon as rows share a beginning: its layers do not follow branches"
        return _differs(name, shared, when, trial), remedy
    low, high = 0, longest  # low is exact, high is not
    while high - low > 1:
        middle = (low + high) // 2
        exact = trial.error(middle, share_prefixes=share_prefixes) <= trial.tolerance
        low, high = (middle, high) if exact else (low, middle)
    when = f"when a row takes {longest:,} positions: from {high:,} on, its layers change for the whole call"
    remedy = f"Rows of up to {low:,} tokens, answers included, are exact: lower rendering.max_length or max_new_tokens."
    return _differs(name, error, when, trial), remedy


def _differs(name: str, error: float, when: str, trial: _Trial) -> str:
    much = f"by {error:.2%} (rounding explains {trial.tolerance:.2%})" if error < float("inf") else "without bound"
    return f"In a forest of rows, {name} gives other losses than by its own forward, {much}, {when}."


def _pool(rows: Sequence[ArrayLike]) -> tuple[int, ...]:
    """Tokens of the first rows, repeated until there are enough for all pieces."""
    found: list[int] = [token for row in rows[:4] for token in np.asarray(row)[: 2 * TRUNK].tolist()]
    needed = 2 * TRUNK - BRANCH + SHORT
    return tuple((found * -(-needed // len(found)))[:needed])


def _unlike(token: int, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens of which the first is another one than `token`."""
    return tokens if tokens[0] != token else (0 if token else 1, *tokens[1:])


def _plain_losses(model: nn.Module, piece: _Piece) -> Tensor:
    """The losses of a piece alone, by the model's own forward and attention: float64 on the CPU."""
    causal = causal_model(model)
    ids = torch.tensor([piece.token_ids], device=causal.device)
    places = {}
    if piece.start:
        places["position_ids"] = torch.arange(piece.start, piece.start + ids.shape[1], device=ids.device)[None]
    with attention_function(model, "eager"):
        logits = model(input_ids=ids, use_cache=False, **places).logits[0, :-1]
    return F.cross_entropy(logits.double(), ids[0, 1:], reduction="none").cpu()


def _forest_losses(
    model: nn.Module, pieces: Sequence[_Piece], backend: AttentionName, *, share_prefixes: bool
) -> list[Tensor]:
    """The losses of each piece, all in one forest: float64 on the CPU."""
    learned = [[0.0] + [1.0] * (len(piece.token_ids) - 1) for piece in pieces]
    rows = [TokenSequence.of("", piece.token_ids, weights) for piece, weights in zip(pieces, learned, strict=True)]
    forest = build_forest(as_items(rows), share_prefixes=share_prefixes)
    places = [forest.target_items == i for i in range(len(pieces))]
    positions = forest.layout.position_ids.copy()
    for piece, at in zip(pieces, places, strict=True):
        positions[forest.targets.positions[at]] += piece.start
    with computing_by(model, backend):  # it is the model that is tried, and two pieces share a beginning
        losses_N, _ = token_losses(model, _with_positions(forest, positions))
    losses_N = losses_N.double().cpu()
    return [losses_N[torch.from_numpy(at)] for at in places]


def _with_positions(forest: Forest, positions: Any) -> Forest:
    return dataclasses.replace(forest, layout=dataclasses.replace(forest.layout, position_ids=positions))


def _masks_agree(model: nn.Module, piece: _Piece, longest: int) -> bool:
    """Whether, at the end of the longest row, every layer's own mask shows what forest attention would show.

    A window, or a mask that is cut into chunks, hides nothing from rows as short as the pieces. So the layers are asked
    for the rule by which the model makes its mask, and for the window that they hand on.
    """
    if longest <= TRUNK:
        return True
    keys = torch.arange(longest, device=causal_model(model).device)
    for call in asked(model, piece.token_ids):
        if call.rule is None:
            continue
        for query in {longest - 1, longest // 2}:
            seen = call.rule.visible(0, 0, torch.tensor(query, device=keys.device), keys).broadcast_to(keys.shape)
            ours = (keys <= query) & (query - keys < (longest if call.window is None else call.window))
            if not torch.equal(seen, ours):
                return False
    return True
