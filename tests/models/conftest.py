"""The embedded model's GGUF file, read by the `gguf` package once."""

from __future__ import annotations

import pytest
from gguf import GGUFReader

from weitiao.machine.catalogue import catalogue_file


@pytest.fixture(scope="session")
def smollm2_file() -> GGUFReader:
    return GGUFReader(catalogue_file("smollm2-135m"))
