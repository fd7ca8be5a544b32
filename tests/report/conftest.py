"""A whole run, made once, and pages that are made from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_run import HOSTILE, write_run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "cards")


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every text that comes from a user or a model tries to break out of the page."""
    return write_run(tmp_path_factory.mktemp("runs") / "cards <b>&", text=HOSTILE)
