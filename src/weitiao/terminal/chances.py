"""How sure a model was of each token: a line for each, and the answer in colours."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

_TOKEN_WIDTH = 20
_SURE, _LIKELY = 0.9, 0.5


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token of an answer.

    Attributes:
        text: Of the token alone.
        chance: Its probability under the model; NaN where that is not known.
        others: The most likely other tokens here, with theirs.
    """

    text: str
    chance: float
    others: tuple[tuple[str, float], ...]


def chance_line(one: Chosen, width: int) -> Text:
    """A token, how likely it was, and what else might have come: `  93 %  "Paris"   or "The" 4 %, "It" 1 %`.

    Args:
        one: The token.
        width: Cells of the line at most; alternatives that have no room are left out.
    """
    token = _shown(one.text)
    if cell_len(token) > _TOKEN_WIDTH:
        token = set_cell_size(token, _TOKEN_WIDTH - 1) + "…"
    line = Text(f"{_percent(one.chance):>6}  ").append(set_cell_size(token, _TOKEN_WIDTH), _style(one.chance))
    for number, (text, chance) in enumerate(one.others):
        part = f"{', ' if number else '  or '}{_shown(text)} {_percent(chance)}"
        if line.cell_len + cell_len(part) > width:
            break
        line.append(part, "dim")
    return line


def in_colour(text: str, chosen: Sequence[Chosen]) -> Text:
    """A piece of an answer in the colour of its least likely token: green at 90 %, yellow at 50 %, red below."""
    return Text(text, _style(min((one.chance for one in chosen), default=math.nan)))


def _shown(text: str) -> str:
    """A token in quotes, so that spaces and line breaks are seen."""
    return json.dumps(text, ensure_ascii=False)


def _percent(chance: float) -> str:
    if math.isnan(chance):
        return "?"
    return f"{100 * chance:.0f} %" if chance >= 0.01 or chance == 0 else "<1 %"


def _style(chance: float) -> str:
    return "green" if chance >= _SURE else "yellow" if chance >= _LIKELY else "dim" if math.isnan(chance) else "red"
