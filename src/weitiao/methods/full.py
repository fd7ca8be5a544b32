"""Full tuning: every parameter of the model learns."""

from __future__ import annotations

from typing import ClassVar, Literal

from weitiao.methods.method import MethodSettings, Selected


class FullConfig(MethodSettings):
    """All parameters learn; what is saved is a whole model."""

    usual_learning_rate: ClassVar[float] = 2e-5

    type: Literal["full"]
    """The method."""

    def build(self) -> Full:
        """The method with these settings."""
        return Full(self)


class Full(Selected):
    """The method `full`. Tied embeddings are one parameter, and stay tied."""

    def learns(self, name: str) -> bool:
        return True
