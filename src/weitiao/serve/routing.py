"""Which of several models answers whom: shares of users, each of whom stays with the same model."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from weitiao.serve.engine import ServeError

ROUTE = "default"
"""The model that clients ask for who take what the route gives them."""


class Routes:
    """The shares of a route; empty where there is none.

    Whoever has a name falls on the same place between 0 and 1 always, so a share that grows keeps those that it has.

    Args:
        weights: A share for each model.

    Raises:
        ServeError: They are no shares.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights: dict[str, float] = {}
        self.previous: dict[str, float] = {}
        if weights:
            self.set(weights)

    def names(self, model: str) -> bool:
        """Whether a request asks for what the route gives."""
        return bool(self.weights) and model == ROUTE

    def set(self, weights: Mapping[str, float]) -> None:
        """Give other shares from now on; those before are kept, to go back to.

        Raises:
            ServeError: They do not make 1 together.
        """
        if any(share < 0 for share in weights.values()) or abs(sum(weights.values()) - 1) > 1e-6:
            told = ", ".join(f"{name}={share:g}" for name, share in weights.items())
            raise ServeError(f"The shares of a route make 1 together, and {told} do not.", "Correct them.")
        self.previous, self.weights = self.weights, dict(weights)

    def choose(self, user: str | None) -> str:
        """Who answers a user: always the same one for the same user; anyone, by the shares, where no user is named."""
        place = secrets.randbits(64) if user is None else int.from_bytes(hashlib.sha256(user.encode()).digest()[:8])
        rest = place / 2**64
        for name, share in self.weights.items():
            rest -= share
            if rest < 0:
                return name
        return next(name for name, share in reversed(self.weights.items()) if share > 0)
