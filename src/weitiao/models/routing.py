"""Which experts the routers of a mixture choose: noted while a model computes, without a change to it.

Routers are found as `transformers` itself finds them, by what a model's class says that it can record.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.output_capturing import OutputRecorder

from weitiao.errors import ModelError
from weitiao.forest.layout import Forest, Layout, build_layout, on_path
from weitiao.models.alone import rows_of
from weitiao.models.losses import final_states
from weitiao.models.parts import causal_model, decoder, evaluating

_OF_PEFT = re.compile(r"\.(original_module|modules_to_save\.\w+)$")


def find_routers(model: nn.Module) -> list[tuple[str, nn.Module, int]]:
    """The routers of a model, in the order of its layers; none in a dense one.

    Returns:
        Name, module, and at which place of its output the logits stand. A router that PEFT has made a copy of, which
        learns, is there twice under its own name.
    """
    found: dict[nn.Module, tuple[str, nn.Module, int]] = {}
    for part in (part for part in model.modules() if isinstance(part, PreTrainedModel)):
        specs = (part._can_record_outputs or {}).get("router_logits", ())
        for spec in specs if isinstance(specs, list) else [specs] if specs else []:
            kind, index = (spec.target_class, spec.index) if isinstance(spec, OutputRecorder) else (spec, 1)
            for name, module in part.named_modules() if isinstance(kind, type) else ():
                if isinstance(module, kind):
                    found.setdefault(module, (_OF_PEFT.sub("", name), module, index))
    # some blocks hand on what a router inside them said, which is recorded itself
    return [
        one for module, one in found.items() if not any(part in found for part in module.modules() if part != module)
    ]


_CELLS = 256
"""So many counts a step stand in `metrics.jsonl` on average; larger tables come every few steps."""


@dataclass(frozen=True, slots=True)
class Routed:
    """What one router did with the tokens of a call.

    Attributes:
        logits: [T, E] of its E experts, with gradient where something below learns.
        chosen: [T, K], the experts that each token goes to.
    """

    logits: Tensor
    chosen: Tensor

    def placed(self, layout: Layout) -> Routed:
        """The same for the T tokens of a layout, whose rows may have been run one after another (`models/alone.py`).

        Raises:
            ModelError: It is not of tokens.
        """
        if len(self.logits) == len(layout):
            return self
        places = np.concatenate(list(rows_of(layout)))
        if len(self.logits) != len(places):
            raise ModelError(
                f"What a router of this class hands on has {len(self.logits)} rows for {len(places)} tokens.",
                "Leave train.router out: what is not of tokens cannot be balanced, or counted.",
            )
        first_T = torch.from_numpy(np.unique(places, return_index=True)[1]).to(self.logits.device)
        return Routed(self.logits[first_T], self.chosen[first_T])


@dataclass(slots=True)
class Routing:
    """The routers of a model, in the order of its layers.

    Attributes:
        routers: By name; none in a dense model. One that PEFT has made a copy of to learn stands there with it.
    """

    routers: dict[str, list[nn.Module]] = field(default_factory=dict)
    _noted: dict[str, list[Routed]] | None = None

    @classmethod
    def of(cls, model: nn.Module) -> Routing:
        """Watch the routers of a model, possibly inside PEFT's, whose parts are not exchanged any more."""
        routing, config = cls(), causal_model(model).config.get_text_config()
        for name, module, index in find_routers(model):
            routing.routers.setdefault(name, []).append(module)
            num_chosen: int = getattr(config, "num_experts_per_tok", 1)
            module.register_forward_hook(partial(routing._note, name, index, num_chosen))
        return routing

    def tried_on(self, model: nn.Module) -> int:
        """How many experts a router of the model chooses from, as three tokens show.

        Raises:
            ModelError: What its routers hand on is not of tokens.
        """
        layout, _ = build_layout([range(3)])
        with evaluating(model), torch.no_grad():
            self.begin()
            final_states(decoder(model), layout)
            return max(one.logits.shape[1] for one in self.end(layout).values())

    def begin(self) -> None:
        """Note what routers do from here on; what was noted is forgotten."""
        self._noted = {}

    def end(self, layout: Layout) -> dict[str, Routed]:
        """What was noted since `begin`, while a layout was computed once, by the names of the routers."""
        noted, self._noted = self._noted or {}, None
        return {
            name: Routed(torch.cat([one.logits for one in calls]), torch.cat([one.chosen for one in calls])).placed(
                layout
            )
            for name, calls in noted.items()
        }

    def _note(self, name: str, index: int, num_chosen: int, router: nn.Module, args: Any, output: Any) -> None:
        if self._noted is None:  # a layer that is computed a second time for the backward pass, for instance
            return
        parts = output if isinstance(output, tuple) else (output,)
        logits_TE = parts[index] if len(parts) > index else parts[0]
        logits_TE = logits_TE.flatten(0, -2)
        whole = [one for one in parts if isinstance(one, Tensor) and not one.is_floating_point() and one.ndim > 1]
        chosen_TK = whole[0].flatten(0, -2) if whole else logits_TE.detach().topk(num_chosen).indices
        self._noted.setdefault(name, []).append(Routed(logits_TE, chosen_TK))


def members(forest: Forest, device: torch.device) -> Tensor:
    """Which tokens each of S sequences consists of: [S, T], 1 or 0."""
    inside_ST = on_path(forest.layout, forest.last_positions[:, None])
    return torch.from_numpy(inside_ST.astype(np.float32)).to(device)


def chosen_counts(one: Routed) -> Tensor:
    """For each token, 1 at every expert that it goes to: [T, E], float32 without gradient."""
    counts_TE = torch.zeros_like(one.logits, dtype=torch.float32)
    return counts_TE.scatter_add_(1, one.chosen, torch.ones_like(one.chosen, dtype=torch.float32))


def balance_losses(one: Routed, members_ST: Tensor) -> Tensor:
    """The load-balancing loss [S] of each sequence in one layer: E sum_e f_e P_e, the number of choices when f is even.

    f_e is the share of the sequence's tokens that go to expert e, P_e the mean of their softmax probability (Switch
    Transformer, https://arxiv.org/abs/2101.03961, equations 4 to 6; with several choices f adds up to their number, as
    in `transformers`). Every sequence is taken as if it were computed alone.
    """
    lengths_S1 = members_ST.sum(1, keepdim=True)
    shares_SE = members_ST @ chosen_counts(one) / lengths_S1
    means_SE = members_ST @ one.logits.float().softmax(-1) / lengths_S1
    return one.logits.shape[1] * (shares_SE * means_SE).sum(1)


def z_losses(one: Routed, members_ST: Tensor) -> Tensor:
    """The router z-loss [S] of each sequence in one layer: the mean square of the log-sum-exp of a token's logits.

    Source: ST-MoE, https://arxiv.org/abs/2202.08906, equation 5.
    """
    squares_T = one.logits.float().logsumexp(-1).square()
    return members_ST @ squares_T / members_ST.sum(1)


def evenness(counts_LE: Tensor) -> list[float | None]:
    """How evenly tokens are spread over the E experts of each layer: their entropy by that of an even spread, 0 to 1.

    Args:
        counts_LE: Tokens that went to each expert; None stands for a layer without any.
    """
    shares_LE = counts_LE.double() / counts_LE.double().sum(1, keepdim=True)
    entropies_L = torch.special.entr(shares_LE).sum(1) / math.log(counts_LE.shape[1])
    return [None if math.isnan(one) else round(one, 4) for one in entropies_L.tolist()]


def described(counts_LE: Tensor, step: int) -> dict[str, Any]:
    """What `metrics.jsonl` says of a step: the evenness of each layer, and in tables that are not too large all counts.

    Args:
        counts_LE: Tokens that went to each expert; a token counts in every sequence that it is of.
        step: Its number, counted from 0.
    """
    whole = step % -(-counts_LE.numel() // _CELLS) == 0
    return {"evenness": evenness(counts_LE)} | ({"tokens": counts_LE.long().tolist()} if whole else {})
