"""Tables: numbers end in one column, long words are folded, and nothing of a text is lost or obeyed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from weitiao.terminal.tables import facts, table


def shown(made: Table, width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(made)  # one that reads markup
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [30, 80])
def test_texts_stand_as_they_are_and_numbers_below_each_other(width: int) -> None:
    label = "[/INST] :smile: [red]" + "x" * 40
    lines = shown(table(("[b]Class", "Rows"), [(label, 12345), ("b", 7)]), width)
    assert all(len(line) <= width for line in lines)
    first = "".join(line[: len(line) - len("12,345")].strip() for line in lines[1:-1])
    assert first.replace(" ", "") == label.replace(" ", "")
    (head, last) = lines[0], lines[-1]
    assert head.startswith("[b]Class")
    assert {len(line.rstrip()) for line in (head, lines[1], last)} == {len(lines[1].rstrip())}
    assert lines[1].rstrip().endswith("12,345")
    assert last.split() == ["b", "7"]


def test_facts_keep_markup_and_commas() -> None:
    assert [line.split() for line in shown(facts([("[i]rows", 1200), ("", "[/]")]), 40)] == [
        ["[i]rows", "1,200"],
        ["[/]"],
    ]
