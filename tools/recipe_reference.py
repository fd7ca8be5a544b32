"""Write docs/recipe.md from the recipe's own types and docstrings: python -m tools.recipe_reference"""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from weitiao.data.config import SourceConfig
from weitiao.generation.config import GenerationConfig
from weitiao.recipe import Recipe
from weitiao.recipe.settings import forms_of
from weitiao.training.config import RouterConfig
from weitiao.user_code import OwnConfig

TARGET = Path(__file__).parent.parent / "docs" / "recipe.md"
INTRODUCTION = """# The recipe

One YAML file says everything about a piece of work. Only `model` and `data` have to be written; every other setting has
a default. Relative paths are looked up in the recipe's folder, then in the current one. Any setting can be given on the
command line by its dotted name, after the recipe: `weitiao train recipe.yaml train.epochs=1 method.r=8`. An unknown key
is an error that names the line and the nearest known key. `weitiao schema` prints the JSON Schema for editors.

```yaml
model: smollm2-135m                  # or a directory, a .gguf file, a hub id
data:
  train: tickets.jsonl               # or a list of sources, each with format, columns, weight
  validation: 0.05
  test: 0.1
method: {type: lora, r: 16}
objective: {type: sft}
optimizer: {weight_decay: 0.01}
train: {epochs: 3, learning_rate: 2e-4}
```

`train.batch_size` says how many items (with `sft`: sequences) make an optimiser step, and so what a step means;
`train.token_budget` says how many tokens are computed at once, and so how much memory a step needs. Packing and shared
beginnings change the cost of a step, never its meaning: its loss is the weighted sum over all its targets divided by
their total weight.

This page is made by `python -m tools.recipe_reference` from the program's own types.
"""


def rows(section: type[BaseModel]) -> list[str]:
    """The table of a section."""
    lines = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in section.model_fields.items():
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {type_name(field)} | {default(field)} | {meaning} |")
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
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Sections\n", *rows(Recipe), ""]
    sections = [(name, form) for name, field in Recipe.model_fields.items() for form in forms_of(field.annotation)]
    sections.insert(2, ("a source of `data`", SourceConfig))
    sections += [("train.router", RouterConfig), ("evaluate.generation", GenerationConfig)]
    for name, section in sections:
        title = name if name.startswith("a ") else f"`{name}`"
        kind = section.model_fields.get("type")
        title += (
            f" of type `{spelled(kind.annotation)}`"
            if kind is not None and get_origin(kind.annotation) is Literal
            else ""
        )
        title += " of your own" if issubclass(section, OwnConfig) else ""
        parts += [f"## {title}\n", " ".join((section.__doc__ or "").split()) + "\n", *rows(section), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
