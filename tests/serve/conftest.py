"""The server that tests of the API share: SmolLM2, quantised, in llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI
from serving import MODEL, Served, serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`weitiao serve smollm2-135m`, with a second name for the same model."""
    with serving(tmp_path_factory.mktemp("served"), MODEL, "--slots", "4", "--context", "1024") as found:
        yield found


@pytest.fixture(scope="session")
def client(served: Served) -> OpenAI:
    """The official client, which does not try again by itself."""
    return OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
