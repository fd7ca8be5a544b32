"""Which chat template a tokenizer prints conversations with."""

from __future__ import annotations

from datetime import date
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import RenderingError
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.dates import pin_date, pinned_date, prints_date
from weitiao.rendering.jinja_file import read_chat_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BUILT_IN = ("alpaca", "chatml")
"""Templates that `rendering.template` may name; each is a file in `builtin/`."""


def apply_template(tokenizer: PreTrainedTokenizerBase, config: RenderingConfig) -> None:
    """Set the chat template that the recipe asks for on the tokenizer, so that it is saved and used with it.

    A built-in template starts with the BOS token when the tokenizer puts one in front of ordinary text. `auto` leaves
    the tokenizer as it is, also when it has no template: raw text needs none. In a template that prints the date, the
    day is fixed.

    Args:
        tokenizer: Gets the template in `tokenizer.chat_template`.
        config: The recipe section `rendering`.

    Raises:
        RenderingError: The template is neither built in nor a file, or the tokenizer lacks a token that it needs.
    """
    _set_template(tokenizer, config)
    template = tokenizer.chat_template
    if isinstance(template, dict):  # one for each purpose
        tokenizer.chat_template = {name: _with_day(text, config) for name, text in template.items()}
    elif template is not None:
        tokenizer.chat_template = _with_day(template, config)


def fixed_date(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The day that is fixed in the chat template of a tokenizer; None when it prints none, or that of its use."""
    template = tokenizer.chat_template
    texts = template.values() if isinstance(template, dict) else [template or ""]
    return next(filter(None, map(pinned_date, texts)), None)


def _with_day(template: str, config: RenderingConfig) -> str:
    # A model that was tuned before keeps its day.
    if not prints_date(template) or (config.date == "auto" and pinned_date(template)):
        return template
    return pin_date(template, date.today() if config.date == "auto" else config.date)


def _set_template(tokenizer: PreTrainedTokenizerBase, config: RenderingConfig) -> None:
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
