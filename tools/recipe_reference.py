"""Write docs/recipe.md, and recipe.zh.md, from the recipe's types and texts: python -m tools.recipe_reference"""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import SourceConfig
from weitiao.generation.config import GenerationConfig
from weitiao.recipe import Recipe
from weitiao.recipe.settings import forms_of, kind_of, text_keys
from weitiao.text.wording import LANGUAGES, Language, Wording
from weitiao.training.config import RouterConfig
from weitiao.user_code import OwnConfig

TARGETS: dict[Language, Path] = {
    language: Path(__file__).parent.parent / "docs" / name
    for language, name in zip(LANGUAGES, ("recipe.md", "recipe.zh.md"), strict=True)
}
SAID = {
    "Sections": "各节", "setting": "设置", "type": "类型", "default": "默认值", "meaning": "含义", "required": "必填",
    "see below": "见下文", "none": "无", "a source of `data`": "`data` 的一个数据源", " of type `{}`": "，类型 `{}`",
    " of your own": "，自己写的", "path, source, or list of them": "路径、数据源或其列表",
    "fraction, path, source, or list of them": "比例、路径、数据源或其列表",
}  # fmt: skip
"""What the page says beside the texts of catalogues, in Chinese."""


def said(text: str, words: Wording) -> str:
    """A text of this page in a language."""
    return SAID[text] if words.language == "zh" and text in SAID else text


def rows(form: type[BaseModel], prefix: str, words: Wording) -> list[str]:
    """The table of a form of a section."""
    heads = [said(one, words) for one in ("setting", "type", "default", "meaning")]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | --- | --- |"]
    for name, field in form.model_fields.items():
        keys = text_keys(f"{prefix}.{name}", kind_of(form)) if prefix else (f"section.{name}",)
        meaning = words.described(field.description or "", *keys).replace("|", "\\|")
        lines.append(f"| `{name}` | {said(type_name(field), words)} | {said(default(field), words)} | {meaning} |")
    return lines


def type_name(field: FieldInfo) -> str:
    """The type as a person would write it."""
    if "SourceConfig" in (text := str(field.annotation)):
        return "path, source, or list of them" if "float" not in text else "fraction, path, source, or list of them"
    return spelled(field.annotation).replace("|", "\\|")


def spelled(annotation: object) -> str:
    """An annotation in words: choices by their values, variants by their `type`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return spelled(arguments[0])
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(spelled(one) for one in arguments))
    if origin in (tuple, list):
        return f"list of {spelled(arguments[0])}"
    if origin is dict:
        return f"mapping of {spelled(arguments[0])} to {spelled(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, OwnConfig):
        return "FILE.py:CLASS"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and "type" in annotation.model_fields:
        return spelled(annotation.model_fields["type"].annotation)
    return "none" if annotation is NoneType else getattr(annotation, "__name__", str(annotation))


def default(field: FieldInfo) -> str:
    """The default as YAML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        value = [one.type if isinstance(one, BaseModel) and hasattr(one, "type") else one for one in value]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`".replace("\n", "\\n")


def reference(language: Language) -> str:
    """The whole page. What stands above the sections is written by hand, and stays."""
    words = Wording(language)
    head = f"## {said('Sections', words)}\n"
    parts = [TARGETS[language].read_text(encoding="utf-8").partition(head)[0] + head, *rows(Recipe, "", words), ""]
    sections = [
        (f"`{name}`", name, form) for name, one in Recipe.model_fields.items() for form in forms_of(one.annotation)
    ]
    sections.insert(2, (said("a source of `data`", words), "source", SourceConfig))
    inner: dict[str, type[BaseModel]] = {
        "data.clean": CleanConfig,
        "train.router": RouterConfig,
        "evaluate.generation": GenerationConfig,
    }
    sections += [(f"`{name}`", name, form) for name, form in inner.items()]
    for title, name, form in sections:
        own, kind = issubclass(form, OwnConfig), kind_of(form)
        which = said(" of your own" if own else " of type `{}`" if kind else "", words).format(kind)
        about = words.described(form.__doc__ or "", f"about.{name}.{kind}", f"about.{name}")
        parts += [f"## {title}{which}\n", about + "\n", *rows(form, name, words), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    for language, target in TARGETS.items():
        target.write_text(reference(language), encoding="utf-8")
