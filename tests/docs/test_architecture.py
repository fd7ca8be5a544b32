"""The page about the architecture says what the import contracts hold, and names what there is."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def layers() -> list[str]:
    """The names of the layers, from the top; of those on one line in the order of the contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    lines = next(one["layers"] for one in contracts if one["type"] == "layers")
    return [name.strip().removeprefix("weitiao.") for line in lines for name in line.split("|")]


def is_package(name: str) -> bool:
    return (ROOT / "src" / "weitiao" / name).is_dir()


def test_the_table_is_the_order_of_the_packages() -> None:
    table = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert table == [name for name in layers() if is_package(name)]
    below = PAGE.split("Below them lie single modules")[1].split("\n\n")[0]
    assert re.findall(r"`(\w+)`", below) == [name for name in layers() if not is_package(name)]


def test_every_package_and_module_has_its_place() -> None:
    listed = [path for path in (ROOT / "src" / "weitiao").iterdir() if path.is_dir() or path.suffix == ".py"]
    found = {path.stem for path in listed if not path.name.startswith("__")}
    assert found == set(layers())


def test_the_contracts_are_where_the_page_says() -> None:
    contracts = re.findall(r"^\*\*(\w+)\*\* \(`([\w/]+)\.py`\)", PAGE, re.MULTILINE)
    assert len(contracts) == 5
    for name, module in contracts:
        assert hasattr(importlib.import_module("weitiao." + module.replace("/", ".")), name)
    methods = set(re.findall(r"^    (\w+)\(", PAGE, re.MULTILINE))
    for owner, module in (("Objective", "objectives.objective"), ("Method", "methods.method")):
        mentioned = getattr(importlib.import_module(f"weitiao.{module}"), owner)
        methods -= set(dir(mentioned))
    assert not methods
