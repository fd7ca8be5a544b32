"""Which chat template a tokenizer prints conversations with, its file, and the day that it prints.

Templates of the Hugging Face dialect ask for the date with `strftime_now(FORMAT)`. A macro of that name at the top of
the template stands before the function that transformers (and what uses its dialect) brings. So the day is part of the
template: saved with it, and the same for whoever prints it.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import RenderingError
from weitiao.paths import read_text
from weitiao.rendering.config import BUILT_IN, RenderingConfig

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser
    from transformers import PreTrainedTokenizerBase


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


_PINNED = re.compile(r"\{#- Today is \d{4}-\d\d-\d\d for.*?\{%- endmacro %\}\n", re.DOTALL)


def prints_date(template: str) -> bool:
    """Whether a chat template asks for the date; one that is no valid template does not."""
    from jinja2 import TemplateSyntaxError, nodes

    try:
        tree = parse_template(_PINNED.sub("", template))
    except TemplateSyntaxError:  # it is refused where it is used, with the place
        return False
    return any(name.name == "strftime_now" for name in tree.find_all(nodes.Name))


def pinned_date(template: str) -> str | None:
    """The day that is fixed in a template; None when none is."""
    found = _PINNED.match(template)
    return found.group()[len("{#- Today is ") :][:10] if found else None


def pin_date(template: str, day: date) -> str:
    """Fix the day that a template prints; the time of day is midnight.

    Args:
        template: A template that asks for the date.
        day: The day.

    Returns:
        The template behind a line that says which day it is, in place of such a line that it already has.
    """
    from jinja2 import nodes

    template = _PINNED.sub("", template)
    texts = [constant.value for constant in parse_template(template).find_all(nodes.Const)]
    asked = {found for text in texts if isinstance(text, str) for found in re.findall(r"%[-_0^#]?[A-Za-z%]", text)}
    moment = datetime.combine(day, time())
    values = {directive: moment.strftime(directive) for directive in sorted(asked, key=len, reverse=True)}
    replaced = "".join(f" | replace({json.dumps(key)}, {json.dumps(value)})" for key, value in values.items())
    comment = "for this model; without this line it is the day on which the template is used."
    return (
        f"{{#- Today is {day.isoformat()} {comment} -#}}"
        f"{{%- macro strftime_now(format) -%}}{{{{- format{replaced} -}}}}{{%- endmacro %}}\n{template}"
    )


def read_chat_template(path: Path) -> str:
    """The text of a Jinja file, checked to be a template in the dialect of transformers.

    Args:
        path: A file in UTF-8.

    Returns:
        The template.

    Raises:
        RenderingError: The file cannot be read, or its syntax is wrong (the message names the line).
    """
    import jinja2

    text = read_text(path.expanduser(), RenderingError, what="rendering.template: ")
    try:
        parse_template(text)
    except jinja2.TemplateSyntaxError as error:
        raise RenderingError(
            f"rendering.template: {path}:{error.lineno}: {error.message}", "Correct the template at that line."
        ) from error
    return text


def parse_template(text: str) -> nodes.Template:
    """The syntax tree of a template in the dialect of transformers.

    Raises:
        jinja2.TemplateSyntaxError: It is no valid template.
    """
    from jinja2 import Environment
    from jinja2.ext import Extension

    class GenerationTag(Extension):
        """`{% generation %}`, with which a template of transformers marks the assistant's text."""

        tags = {"generation"}  # noqa: RUF012 (Jinja's own way)

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Environment(extensions=["jinja2.ext.loopcontrols", GenerationTag]).parse(text)
