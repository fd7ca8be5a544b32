"""Chat templates that print the date: the day is fixed in the template itself.

Templates of the Hugging Face dialect ask for the date with `strftime_now(FORMAT)`. A macro of that name at the top of
the template stands before the function that transformers (and what uses its dialect) brings. So the day is part of the
template: saved with it, and the same for whoever prints it.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time

from weitiao.rendering.jinja_file import parse_template

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
