"""The model as answers need it: tokens in, logits out at the places that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weitiao.forest.layout import Layout
from weitiao.generation.attention import PromptAttention, StepAttention
from weitiao.generation.batches import Prompt, PromptRow, lay_out
from weitiao.generation.cache import Cache
from weitiao.generation.parts import Prefix
from weitiao.models.attention import FOREST, Attends, ForestAttention
from weitiao.models.parts import Readout, decoder


class Network:
    """The model, taken apart into decoder and head, so that logits are computed for last tokens only."""

    def __init__(self, model: nn.Module) -> None:
        self._decoder, self._readout = decoder(model), Readout(model)
        assert self._decoder.config._attn_implementation == FOREST, "the model was loaded with forest attention"
        self.device = self._decoder.device

    def prefix(self, tokens: Prompt) -> Prefix:
        """Run a beginning of prompts alone."""
        prefix = Prefix(len(tokens))
        self._fill(lay_out([tokens]).layout, prefix, None, [len(tokens) - 1])
        return prefix

    def prefill(self, row: PromptRow, cache: Cache, prefix: Prefix | None) -> Tensor:
        """Run the prompts, except for a prefix that is known; the logits of their next tokens."""
        return self._fill(row.layout, cache, prefix, [int(path[-1]) for path in row.paths])

    def _fill(self, layout: Layout, cache: Cache | Prefix, prefix: Prefix | None, places: Sequence[int]) -> Tensor:
        """Run a row behind its prefix, and keep its keys and values; the logits at some places of the row."""
        forest = ForestAttention(layout, self.device)
        known = 0 if prefix is None else prefix.length
        return self.run(
            torch.from_numpy(layout.token_ids[known:]),
            torch.from_numpy(layout.position_ids[known:]),
            PromptAttention(forest, cache, prefix),
            [place - known for place in places],
        )

    def step(self, cache: Cache, tokens: Sequence[int]) -> Tensor:
        """Run the newest token of each sequence; the logits of the next ones."""
        positions = torch.tensor(cache.positions)
        cache.open_column()
        return self.run(torch.tensor(tokens), positions, StepAttention(cache), slice(None))

    # not inference_mode: a tensor that a module keeps from here would be refused by a later backward pass
    @torch.no_grad()
    def run(self, tokens_T: Tensor, positions_T: Tensor, attends: Attends, places: list[int] | slice) -> Tensor:
        """Run a row of T tokens; the logits at some places of it."""
        states_TD = self._decoder(
            input_ids=tokens_T.unsqueeze(0).to(self.device),
            position_ids=positions_T.unsqueeze(0).to(self.device),
            use_cache=False,
            forest=attends,
        ).last_hidden_state[0]
        return self._readout(states_TD[places])
