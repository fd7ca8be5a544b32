"""Recipes and overrides out of random YAML: a recipe, or one error in one line; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from weitiao.errors import WeitiaoError
from weitiao.recipe import Recipe, load_recipe

GOOD = """\
model: smollm2-135m
data: {train: rows.jsonl, test: 0.1, validation: rows.jsonl}
method: {type: lora, r: 16, target_modules: [q_proj]}
train: {epochs: 3, learning_rate: 2e-4}
evaluate: {metrics: [exact_match, {type: number, tolerance: 0.1}]}
"""
SCRAPS = st.sampled_from(
    ["[", "]", "{", "}", ": ", "- ", "\n", "\t", "  ", "&a ", "*a", "!!set ", "!x ", "|\n", ">-\n", "'", '"', "#", "? ",
     "<<: ", "%YAML 1.1\n", "---\n", "...", "2024-13-45", "1_0", "0o9", ".nan", ".inf", "~", "yes", "\\x00", "\ufeff",
     "\u2028", "\x85", "!!binary x", "!!python/none ", "null", "1e999", "12:30:45"]
)  # fmt: skip
NAMES = st.sampled_from(
    [*Recipe.model_fields, "train.epochs", "data.train", "data.train.0", "data.train.columns.prompt", "model.name",
     "method.r", "method.target_modules.0", "evaluate.metrics.1.tolerance", "data.test", "retention.parts.0", "x.y.z"]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.dates().map(str), SCRAPS
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS | st.sampled_from(["path", "type"]), inner),
    max_leaves=6,
)
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    return folder / "recipe.yaml"


def read(path: Path, text: str, overrides: list[str]) -> None:
    """Reads to a recipe, or to an error that a person can use."""
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        assert isinstance(load_recipe(path, overrides), Recipe)
    except WeitiaoError as error:
        assert error.what
        assert error.remedy
        assert "\n" not in error.what, error.what


def yaml(tree: Any) -> str:
    """A tree in flow style, as carelessly as people write."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{yaml(key)}: {yaml(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(yaml, tree)) + "]"
    return "" if tree is None else str(tree)


@FUZZ
@given(cut=st.integers(0, len(GOOD)), length=st.integers(0, 12), scraps=st.lists(SCRAPS, max_size=3))
def test_a_damaged_recipe_is_read_or_refused(place: Path, cut: int, length: int, scraps: list[str]) -> None:
    read(place, GOOD[:cut] + "".join(scraps) + GOOD[cut + length :], [])


@FUZZ
@given(section=st.sampled_from(list(Recipe.model_fields)), tree=TREES)
def test_a_section_of_random_values_is_read_or_refused(place: Path, section: str, tree: Any) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{section}:")]
    read(place, "\n".join([*lines, f"{section}: {yaml(tree)}"]), [])


@FUZZ
@given(overrides=st.lists(st.tuples(NAMES, TREES.map(yaml) | SCRAPS).map("=".join) | st.text(max_size=20), max_size=3))
@example(overrides=["model=\n["])
@example(overrides=["train.l\u2028r=1"])
def test_random_overrides_are_read_or_refused(place: Path, overrides: list[str]) -> None:
    read(place, GOOD, overrides)
