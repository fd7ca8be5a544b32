"""What the settings of all metrics have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weitiao.config import Config
from weitiao.paths import find_path

Normalize = Literal["none", "whitespace", "casefold"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rest of a recipe says to metrics that leave it open.

    Attributes:
        normalize: `evaluate.normalize`.
        labels: The expected answers of the training and test rows.
    """

    normalize: Normalize = "whitespace"
    labels: Sequence[str] = ()


class MetricConfigBase(Config):
    """A metric, or another score, of a recipe."""

    name: str | None = Field(default=None, pattern=r"^[\w.:-]+$")
    """What the score is called in tables and files; the type (for a function: its name) when not given."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Packages of others that its grades depend on."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content its grades depend on."""
        return ()

    @property
    def title(self) -> str:
        """What the score is called."""
        return self.name or str(self.__dict__["type"])

    def located(self, folders: Sequence[Path]) -> MetricConfigBase:
        """The same with its paths looked up in these folders, in this order."""
        return self


def found(path: Path, folders: Sequence[Path]) -> Path:
    """The path in the first folder that has it, made absolute; the path as it is when none has."""
    return find_path(path, folders) or path
