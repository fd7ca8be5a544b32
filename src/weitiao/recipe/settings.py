"""Every setting that a recipe may hold, with what it means: for forms that are made of the recipe's own types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from weitiao.recipe.recipe import Recipe
from weitiao.user_code import REFERENCE, OwnConfig

OWN = "own"
"""What the `type` of a section is called here that a user wrote, as a class in a file."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting, as it is in one recipe.

    Attributes:
        name: Dotted.
        meaning: The docstring of its field.
        default: What holds where nothing is written, as JSON values; None as well where it has to be written.
        value: What is written; `default` where nothing is.
        is_written: Whether the recipe says it.
        choices: All values that it may have, where they are few: JSON values.
        is_text: Whether it is a text whatever it looks like.
        kind: The `type` of its section, where that has one.
    """

    name: str
    meaning: str
    default: Any
    value: Any
    is_written: bool
    choices: tuple[Any, ...] = ()
    is_text: bool = False
    kind: str | None = None

    @property
    def section(self) -> str:
        """The section of the recipe that it stands in."""
        return self.name.partition(".")[0]

    @property
    def texts(self) -> tuple[str, ...]:
        """Under which keys the catalogue of a language may have its meaning, see `Wording.described`."""
        return text_keys(self.name, self.kind)

    @property
    def differs(self) -> bool:
        """Whether it is written and is not the default."""
        return self.is_written and self.value != self.default


def text_keys(name: str, kind: str | None) -> tuple[str, ...]:
    """The keys for a setting's meaning in catalogues, the most special one first.

    Args:
        name: Dotted: `objective.beta`, which each type has for itself, or `rollouts.generation.top_p`, which other
            sections have as well.
        kind: The `type` of its section, where that has one.
    """
    section, _, rest = name.partition(".")
    return f"setting.{section}.{kind}.{rest}", f"setting.{name}", f"setting.{rest}"


def kind_of(form: type[BaseModel]) -> str | None:
    """What a form of a section calls its `type`; None where a section has one form."""
    return OWN if issubclass(form, OwnConfig) else next(iter(_types(form)), None)


def settings_of(values: Mapping[str, Any]) -> Iterator[Setting]:
    """All settings, of sections with a `type` those of the type that is written. The recipe need not be valid.

    Args:
        values: As they are written in a recipe.
    """
    for name, field in Recipe.model_fields.items():
        if name == "run_dir":  # of one run, not of the work
            continue
        written = values.get(name)
        if name == "model" and isinstance(written, str):
            written = {"name": written}
        forms = forms_of(field.annotation)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        usual = default if isinstance(default, BaseModel) else None
        kind = written.get("type") if isinstance(written, Mapping) else None
        if isinstance(kind, str) and REFERENCE.fullmatch(kind):
            kind = OWN
        wanted = [form for form in forms if kind is not None and kind_of(form) == kind]
        form = wanted[0] if wanted else type(usual) if usual is not None else forms[0]
        kinds = tuple(dict.fromkeys(one for form in forms for one in _types(form)))
        yield from settings_of_form(name, form, written if isinstance(written, Mapping) else {}, kinds)


def forms_of(annotation: object) -> list[type[BaseModel]]:
    """The forms of a section: one, or those of a union."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return [form for one in get_args(annotation) for form in forms_of(one)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def settings_of_form(
    prefix: str, form: type[BaseModel], written: Mapping[str, Any], kinds: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """All settings of one form of a section, or of one item of a list.

    Args:
        prefix: The dotted name that theirs begin with.
        form: Its type.
        written: What the recipe says of it.
        kinds: What its `type` may be.
    """
    for key, field in form.model_fields.items():
        inner = forms_of(field.annotation)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        name, value = f"{prefix}.{key}", written.get(key)
        if len(inner) == 1 and isinstance(default, BaseModel):
            yield from settings_of_form(name, inner[0], value if isinstance(value, Mapping) else {})
            continue
        told = _plain(form, key, default)
        yield Setting(
            name, " ".join((field.description or "").split()), told, value if key in written else told, key in written,
            kinds if key == "type" else _choices(field.annotation), field.annotation is str,
            kind_of(form),
        )  # fmt: skip


def _plain(form: type[BaseModel], key: str, value: Any) -> Any:
    """A default as JSON values; what has a type by its type alone, as people write it."""
    if isinstance(value, tuple) and all(isinstance(one, BaseModel) and hasattr(one, "type") for one in value):
        return [getattr(one, "type") for one in value]  # noqa: B009
    return form.model_construct(**{key: value}).model_dump(mode="json", include={key}, warnings=False)[key]


def _choices(annotation: object) -> tuple[Any, ...]:
    """The values of a type; none where there are more than can be listed."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _choices(arguments[0])
    if origin is Literal:
        return arguments
    if origin in (Union, UnionType):
        parts = [_choices(one) for one in arguments]
        return tuple(value for part in parts for value in part) if all(parts) else ()
    return (True, False) if annotation is bool else (None,) if annotation is NoneType else ()


def _types(form: type[BaseModel]) -> tuple[str, ...]:
    """What `type` may be in a form; none of one that has no such field, or takes any (a class in a file)."""
    return _choices(form.model_fields["type"].annotation) if "type" in form.model_fields else ()
