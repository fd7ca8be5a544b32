"""A chat template that the user brings in a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import RenderingError

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser


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

    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RenderingError(
            f"rendering.template: {path} is not UTF-8 text (byte {error.start}).", "Save the chat template as UTF-8."
        ) from error
    except OSError as error:
        raise RenderingError(
            f"rendering.template: {path} cannot be read: {error.strerror}.", "Check the file and its permissions."
        ) from error
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
