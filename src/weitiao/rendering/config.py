"""The recipe section `rendering`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from weitiao.config import Config
from weitiao.paths import find_path

BUILT_IN = ("alpaca", "chatml")
"""Templates that `rendering.template` may name; each is a file in `builtin/`."""


class RenderingConfig(Config):
    """How examples become token ids, and which of the tokens are learned."""

    template: str = "auto"
    """The chat template: `auto` (the tokenizer's own), a built-in one (`alpaca`, `chatml`), or the path of a `.jinja`
    file. Whichever it is, it is saved with the tokenizer, and evaluation, chat and export use the same."""

    date: Literal["auto"] | Date = "auto"
    """The day that a chat template prints which asks for the date: `auto` is the day on which the run began. It is
    written into the template that is saved with the tuned model."""

    train_on_prompt: bool = False
    """Learn the prompt as well as the answers: every token but the first has weight 1."""

    turns: Literal["all", "last"] = "all"
    """Which answers of a conversation are learned: every assistant turn, or only the last one."""

    max_length: int | None = Field(default=None, ge=2)
    """Longest sequence, in tokens; the model's context when not given."""

    on_long: Literal["drop", "truncate", "error"] = "drop"
    """What happens to a longer sequence: it is dropped and counted, its end is cut off (and with it the end-of-turn
    token) and counted, or it is an error."""

    def located(self, folders: Sequence[Path]) -> Self:
        """The same with the file of its template looked up in folders; a name means no file, whatever lies there."""
        if self.template in ("auto", *BUILT_IN):
            return self
        return self.model_copy(update={"template": str(find_path(self.template, folders) or self.template)})
