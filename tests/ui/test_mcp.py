"""Agents look at runs, and change something only where they may: asked with the SDK's own client."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from workbench import write_recipe

from weitiao.ui.app import create_app, operations, parts_of
from weitiao.ui.mcp import CHANGING, LOOKING
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


def test_every_operation_of_the_api_is_a_tool_or_for_people_alone(workspace: Workspace) -> None:
    known = dict(operations(parts_of(workspace, "")))
    assert known.keys() >= {*LOOKING, *CHANGING}
    others = known.keys() - {*LOOKING, *CHANGING}
    ends = {one.partition("/api/")[2].rpartition("}/")[2] for one in others}
    assert ends == {
        "events",
        "uploads/{name:path}",
        "token",
        "pairs",
        "judgements",
        "corrections",
        "playground",
        "playground/votes",
    }
    described = create_app(workspace, token="").openapi()["paths"]
    assert len(known) == sum(len(one) for one in described.values())


def test_an_agent_sees_what_the_pages_show(workspace: Workspace, tiny_llama_dir: Path) -> None:
    write_recipe(workspace.root / "planned", tiny_llama_dir)
    tools, (overview, run, verdict, missing, outside, plan, absent) = ask(
        workspace,
        [
            ("overview", {}),
            ("run", {"name": RUN}),
            ("result", {"name": RUN, "what": "verdict"}),
            ("result", {"name": RUN, "what": "../../secret"}),
            ("run", {"name": "../elsewhere"}),
            ("plan", {"name": "planned", "device": "rtx-4090"}),
            ("plan", {"name": "planned", "device": "rtx-9999"}),
        ],
    )
    assert tools == set(LOOKING.values())
    assert overview.structured_content["runs"][0]["name"] == RUN
    assert run.structured_content["verdict"] == "ship"
    assert '"decision"' in verdict.content[0].text
    assert missing.is_error
    assert outside.is_error
    assert "lies outside" in outside.content[0].text
    assert sum(way["is_recommended"] for way in plan.structured_content["ways"]) == 1
    assert absent.is_error
    assert "rtx-9999" in absent.content[0].text


def test_what_changes_something_has_to_be_allowed(workspace: Workspace, tiny_llama_dir: Path) -> None:
    recipe = write_recipe(workspace.root / "mine", tiny_llama_dir)
    tools, (stopped, refused) = ask(
        workspace,
        [
            ("stop", {"number": 7}),
            ("change_recipe", {"name": "mine", "wanted": {"changes": {"train.epochs": 2}, "etag": "another"}}),
        ],
        "--allow-changes",
    )
    assert tools == {*LOOKING.values(), *CHANGING.values()}
    assert stopped.is_error
    assert "no job 7" in stopped.content[0].text
    assert "changed by somebody else" in refused.content[0].text
    assert "epochs" not in recipe.read_text(encoding="utf-8")
