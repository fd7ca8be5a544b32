"""No module imports, directly or over others, what imports it: imports inside functions and for types count too."""

from __future__ import annotations

import grimp


def test_there_are_no_circles_of_modules() -> None:
    graph = grimp.build_graph("weitiao")
    left = set(graph.modules)
    while ends := {
        module
        for module in left
        if not left & graph.find_modules_directly_imported_by(module)
        or not left & graph.find_modules_that_directly_import(module)
    }:
        left -= ends
    assert {module: sorted(left & graph.find_modules_directly_imported_by(module)) for module in left} == {}
