"""Tokens that a tokenizer has and its model does not: added by someone who never resized the model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from weitiao.errors import ModelError
from weitiao.models.parts import causal_model


def require_embeddings(model: nn.Module, rows: Iterable[tuple[str, ArrayLike]]) -> None:
    """Refuse tokens without an embedding before they are looked up. Tokens that no row uses do no harm.

    Args:
        model: A causal language model, with or without an adapter.
        rows: Where each row stands, and its token ids.

    Raises:
        ModelError: A row holds such a token.
    """
    causal = causal_model(model)
    size: int = causal.config.get_text_config().vocab_size
    for where, ids in rows:
        if (token := int(np.max(np.asarray(ids, np.int64), initial=0))) >= size:
            raise ModelError(
                f"{where}: token {token} has no embedding; {type(causal).__name__} has {size:,} of them.",
                "Take the tokenizer that belongs to the model, or give the model the tokens that were added to it: "
                "model.resize_token_embeddings(len(tokenizer)), then save_pretrained.",
            )
