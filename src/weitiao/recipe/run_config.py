"""The recipe section `run`: where `weitiao run` stops before its last step."""

from __future__ import annotations

from typing import Literal

from weitiao.config import Config


class RunConfig(Config):
    """What `weitiao run` does when a step finds that there is nothing to train on, or nothing to train for."""

    on_findings: Literal["stop", "continue"] = "stop"
    """Whether findings of severity error in the data end the run, before anything is computed from them."""

    on_advice: Literal["stop", "continue"] = "stop"
    """Whether the run ends, without training, when the baseline shows that prompting suffices."""
