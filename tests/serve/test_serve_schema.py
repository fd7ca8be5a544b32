"""Invented requests to every endpoint, from the server's own description of itself: none is answered by a bug."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import serving

_TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text()})


def test_no_invented_request_finds_a_bug(tiny_llama_dir: Path, tmp_path: Path) -> None:
    limits = ["--max-tokens", "4", "--timeout", "20"]
    codes: dict[int, int] = {}
    with serving(tmp_path, f"a={tiny_llama_dir}", *limits, "--route", "a=1", "--feedback", tmp_path / "f.db") as found:
        description = schemathesis.openapi.from_url(f"{found.url}/openapi.json")
        operations = [one.ok() for one in description.get_all_operations()]
        for operation in operations:

            @settings(
                max_examples=20, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True, database=None
            )
            @given(operation.as_strategy(), st.booleans(), st.lists(_TURN, min_size=1, max_size=3))
            def invent(case: Any, sensible: bool, turns: list[dict[str, str]]) -> None:
                if sensible and isinstance(case.body, dict):  # what is behind the first checks
                    case.body |= {"model": "a"} if "model" in case.body else {}
                    case.body |= {"messages": turns} if "messages" in case.body else {}
                reply = case.call(timeout=30)
                codes[reply.status_code] = codes.get(reply.status_code, 0) + 1
                assert reply.status_code < 500, reply.text

            invent()
        assert found.process.poll() is None
    assert len(operations) >= 11
    assert {200, 400, 404} <= codes.keys()
