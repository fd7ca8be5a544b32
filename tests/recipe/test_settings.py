"""The settings that forms are made of are those of the recipe's own types."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from workbench import write_rows

from weitiao.evaluation.config import METRICS
from weitiao.recipe import Recipe, recipe_from_dict
from weitiao.recipe.schema import recipe_schema
from weitiao.recipe.settings import OWN, Setting, forms_of, kind_of, settings_of, settings_of_form
from weitiao.text.wording import Wording, table_of

ROOT = Path(__file__).parents[2]
WRITTEN = {"model": "smollm2-135m", "data": {"train": "rows.jsonl"}, "train": {"epochs": 2}}


def at(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values[key]
    return values


def test_defaults_are_those_that_a_recipe_is_resolved_to(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    resolved = recipe_from_dict({**WRITTEN, "data": {"train": str(rows)}, "feedback": {"judges": ["m"]}}).model_dump(
        mode="json"
    )
    settings = {one.name: one for one in settings_of(WRITTEN)}
    shown_otherwise = {"model.name", "data.train", "feedback.judges", "evaluate.metrics", "train.epochs"}
    for name in settings.keys() - shown_otherwise:
        assert settings[name].default == settings[name].value == at(resolved, name), name
    assert {name for name, one in settings.items() if one.differs} == {"model.name", "data.train", "train.epochs"}
    assert (settings["evaluate.metrics"].default, settings["model.name"].value) == (["exact_match"], "smollm2-135m")


def test_every_setting_is_there_with_its_docstring() -> None:
    names = {one.name for one in settings_of({})}
    for section in ("train", "rendering", "baseline", "verdict", "export"):
        properties = recipe_schema(section)["properties"]
        assert {f"{section}.{key}" for key in properties} == {
            ".".join(name.split(".")[:2]) for name in names if name.startswith(f"{section}.")
        }
    for one in settings_of({}):
        form: Any = Recipe
        for key in one.name.split(".")[:-1]:
            default = form.model_fields[key].get_default(call_default_factory=True)
            if not isinstance(default, BaseModel):
                break
            form = type(default)
        else:
            assert one.meaning == " ".join((form.model_fields[one.name.rpartition(".")[2]].description or "").split())
        assert one.meaning, one.name


def test_a_type_has_settings_of_its_own_and_all_types_to_choose_from() -> None:
    freeze = {one.name: one for one in settings_of({"method": {"type": "freeze"}}) if one.section == "method"}
    assert "method.r" not in freeze
    assert {"lora", "full", "freeze", "bitfit", "adapter", "peft"} <= set(freeze["method.type"].choices)
    assert freeze["method.type"].differs is False or freeze["method.type"].value == "freeze"
    choices = {one.name: one.choices for one in settings_of({})}
    assert choices["train.schedule"] == ("cosine", "linear", "constant")
    assert choices["train.keep_best"] == (True, False)
    assert choices["train.token_budget"] == ()


def of_all_types() -> list[Setting]:
    """Every setting that the forms of any recipe and of any metric show."""
    found = list(settings_of({}))
    for form in METRICS.values():
        found += (one for one in settings_of_form("metric", form, {}) if one.name not in ("metric.type", "metric.name"))
    for section, field in Recipe.model_fields.items():
        for kind in filter(None, map(kind_of, forms_of(field.annotation))):
            found += settings_of({section: {"type": "my.py:Own" if kind == OWN else kind}})
    return found


def test_a_class_in_a_file_is_a_type_with_no_settings_of_another() -> None:
    settings = [one for one in settings_of({"method": {"type": "my.py:Norms"}}) if one.section == "method"]
    assert {one.name for one in settings} == {"method.type", "method.start"}
    assert [one.value for one in settings if one.name == "method.type"] == ["my.py:Norms"]


def test_every_setting_is_explained_in_chinese_and_no_text_is_left_over() -> None:
    table, words, page = table_of("zh"), Wording("zh"), (ROOT / "docs/recipe.zh.md").read_text(encoding="utf-8")
    english = defaultdict(set)
    for one in of_all_types():
        text = words.described(one.meaning, *one.texts)
        assert re.search("[一-鿿]", text), one.name
        assert Wording("en").described(one.meaning, *one.texts) == one.meaning
        english[next(key for key in one.texts if key in table)].add(one.meaning)
    for kind, form in METRICS.items():
        about = " ".join((form.__doc__ or "").split("\n\n")[0].split())
        assert words.described(about, f"about.metric.{kind}") != about, kind
        english[f"about.metric.{kind}"].add(about)
    assert not {key: meanings for key, meanings in english.items() if len(meanings) > 1}  # one text for two meanings
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 200
    assert not [row for row in rows if not re.search("[一-鿿]", row.split(" | ")[-1])]
    texts = {key: text for key, text in table.items() if key.startswith(("setting.", "section.", "about."))}
    assert {key for key, text in texts.items() if text.replace("|", "\\|") not in page} <= english.keys()
