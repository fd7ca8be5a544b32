"""`weitiao schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from weitiao.cli.use import schema
from weitiao.errors import RecipeError
from weitiao.recipe import Recipe
from weitiao.recipe.schema import recipe_schema


def printed(capsys: pytest.CaptureFixture[str], section: str | None = None) -> dict[str, Any]:
    schema(section)
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def settings(name: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every setting of an object and of the objects defined beside it."""
    for key, value in node.get("properties", {}).items():
        yield f"{name}.{key}", value
    for definition, value in node.get("$defs", {}).items():
        yield from settings(definition, value)


def test_whole_schema_has_all_sections_and_says_which_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    whole = printed(capsys)
    assert set(whole["properties"]) == set(Recipe.model_fields)
    assert whole["required"] == ["model", "data"]
    assert whole["additionalProperties"] is False


def test_every_setting_is_described() -> None:
    lacking = [name for name, value in settings("recipe", recipe_schema()) if not value.get("description")]
    assert lacking == []


def test_a_section_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    section = printed(capsys, "evaluate")
    assert set(section["properties"]) == {
        "metrics", "generation", "normalize", "limit", "benchmarks", "benchmark_path", "benchmark_limit",
    }  # fmt: skip
    assert section["properties"]["normalize"]["enum"] == ["none", "whitespace", "casefold"]
    assert section["$defs"]["GenerationConfig"]["properties"]["max_new_tokens"]["default"] == 256


def test_a_setting_that_is_no_section_is_printed_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"type": "null"} in printed(capsys, "run_dir")["anyOf"]


def test_an_unknown_section_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError) as error:
        recipe_schema("evaluation")
    assert error.value.remedy == "Did you mean `evaluate`?"
