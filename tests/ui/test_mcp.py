"""Agents look at runs, and change something only where they may: asked with the SDK's own client."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from weitiao.ui.workspace import Workspace

RUN = "tickets/runs/1"


def ask(workspace: Workspace, calls: list[tuple[str, dict[str, Any]]], *options: str) -> tuple[set[str], list[Any]]:
    """The tools there are, and what the calls gave."""
    words = ["-m", "weitiao", "mcp", str(workspace.root), "--home", str(workspace.jobs.home), *options]

    async def talk() -> tuple[set[str], list[Any]]:
        async with Client(StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))) as client:
            tools = {one.name for one in (await client.list_tools()).tools}
            return tools, [await client.call_tool(name, values) for name, values in calls]

    with ThreadPoolExecutor(1) as aside:  # whatever loop runs here
        return aside.submit(anyio.run, talk).result()


def test_an_agent_sees_what_the_pages_show(workspace: Workspace) -> None:
    tools, (overview, run, verdict, missing, outside) = ask(
        workspace,
        [
            ("overview", {}),
            ("run", {"name": RUN}),
            ("result", {"name": RUN, "what": "verdict"}),
            ("result", {"name": RUN, "what": "../../secret"}),
            ("run", {"name": "../elsewhere"}),
        ],
    )
    assert tools == {"overview", "run", "metrics", "result", "exports", "recipe", "log", "doctor"}
    assert overview.structured_content["runs"][0]["name"] == RUN
    assert run.structured_content["verdict"] == "ship"
    assert '"decision"' in verdict.content[0].text
    assert missing.is_error
    assert outside.is_error
    assert "lies outside" in outside.content[0].text


def test_what_changes_something_has_to_be_allowed(workspace: Workspace, tmp_path: Path) -> None:
    tools, (stopped,) = ask(workspace, [("stop", {"job": 7})], "--allow-changes")
    assert {"start", "go_on", "stop", "export"} <= tools
    assert stopped.is_error
    assert "no job 7" in stopped.content[0].text
