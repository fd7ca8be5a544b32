"""Which chat template a tokenizer prints conversations with."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import RenderingError
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.jinja_file import read_chat_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BUILT_IN = ("alpaca", "chatml")
"""Templates that `rendering.template` may name; each is a file in `builtin/`."""


def apply_template(tokenizer: PreTrainedTokenizerBase, config: RenderingConfig) -> None:
    """Set the chat template that the recipe asks for on the tokenizer, so that it is saved and used with it.

    A built-in template starts with the BOS token when the tokenizer puts one in front of ordinary text. `auto` leaves
    the tokenizer as it is, also when it has no template: raw text needs none.

    Args:
        tokenizer: Gets the template in `tokenizer.chat_template`.
        config: The recipe section `rendering`.

    Raises:
        RenderingError: The template is neither built in nor a file, or the tokenizer lacks a token that it needs.
    """
    if config.template == "auto":
        return
    if config.template in BUILT_IN:
        _require_tokens(tokenizer, config.template)
        source = (resources.files("weitiao.rendering") / "builtin" / f"{config.template}.jinja").read_text("utf-8")
        ids = tokenizer("a")["input_ids"]
        adds_bos = tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id
        tokenizer.chat_template = "{{- bos_token -}}\n" + source if adds_bos else source
        return
    path = Path(config.template).expanduser()
    if not path.is_file():
        raise RenderingError(
            f"rendering.template: {config.template!r} is neither a built-in template nor a file.",
            f"Give 'auto', one of {', '.join(BUILT_IN)}, or the path of a .jinja file.",
        )
    tokenizer.chat_template = read_chat_template(path)


def _require_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> None:
    if template == "alpaca" and tokenizer.eos_token is None:
        raise RenderingError(
            "rendering.template: alpaca ends every answer in the EOS token, and this tokenizer has none.",
            "Use a tokenizer with an eos_token, or a .jinja file that writes another end-of-turn token.",
        )
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    if template == "chatml" and not {"<|im_start|>", "<|im_end|>"} <= added:
        raise RenderingError(
            "rendering.template: chatml needs the tokens <|im_start|> and <|im_end|>, and this tokenizer lacks them.",
            "Use rendering.template: alpaca, which needs no token but EOS, or a tokenizer that has the two.",
        )
