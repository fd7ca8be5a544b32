"""Reading YAML that people wrote: whatever is wrong with it becomes one error that says where."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import RoundTripConstructor, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError

from weitiao.errors import RecipeError
from weitiao.paths import read_text


class _PlacedTexts(RoundTripConstructor):
    """Reads `2024-05-01` as the text that it is: no setting is a date, and names of directories look like one."""


class _Texts(SafeConstructor):
    """The same, without the places."""


for _constructor in (_PlacedTexts, _Texts):
    _constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)

_ONE_LINE = 2**20
"""Characters: texts are not broken."""

_REMEDY = "Check indentation, colons and quotes; a text with special characters stands in 'quotes'."


def read_yaml(path: Path, *, places: bool = False) -> Any:
    """The value of a YAML file.

    Args:
        path: The file.
        places: Keep the line of every key and item (`lc` of ruamel's mappings and lists).

    Raises:
        RecipeError: It cannot be read, or is not YAML in UTF-8.
    """
    return parse_yaml(read_text(path, RecipeError), str(path), places=places)


def parse_yaml(text: str, where: str, *, places: bool = False) -> Any:
    """The value of a YAML text.

    Args:
        text: YAML 1.2.
        where: What errors call it.
        places: As for `read_yaml`.

    Raises:
        RecipeError: It is not YAML, or a part of it holds itself.
    """
    yaml = YAML(typ="rt") if places else YAML(typ="safe", pure=True)
    yaml.Constructor = _PlacedTexts if places else _Texts
    try:
        value = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        if mark and "\n" in where + text:
            where = f"{where}:{mark.line + 1}:{mark.column + 1}"
        tab = " (YAML is indented with spaces, not with tabs)" if "'\\t'" in str(error.problem) else ""
        raise RecipeError(f"{where}: not valid YAML: {_one_line(error.problem)}{tab}.", _REMEDY) from error
    except Exception as error:
        raise RecipeError(f"{where}: not valid YAML: {_one_line(error)}.", _REMEDY) from error
    _refuse_cycles(value, where)
    return value


def edited_yaml(text: str, where: str, edit: Callable[[Any], None]) -> str:
    """A YAML text after a change of its values; comments, quotes and the order of keys stay.

    Args:
        text: YAML 1.2 with a mapping or a list at its top.
        where: What errors call it.
        edit: Gets the values, and changes them in place.

    Raises:
        RecipeError: It is not YAML.
    """
    parse_yaml(text, where)  # says what is wrong with it
    yaml = YAML(typ="rt")
    yaml.Constructor = _PlacedTexts
    yaml.preserve_quotes, yaml.width, yaml.allow_unicode = True, _ONE_LINE, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    values, out = yaml.load(text), StringIO()
    edit(values)
    yaml.dump(values, out)
    return out.getvalue()


def _one_line(problem: object) -> str:
    text = " ".join(str(problem).split()).rstrip(".")
    return text or type(problem).__name__


def _refuse_cycles(value: Any, where: str) -> None:
    """An alias may stand inside of what it names; no recipe means that, and no reader of it would end."""
    above: set[int] = set()
    done: set[int] = set()
    stack = [(value, False)]
    while stack:
        node, left = stack.pop()
        if left:
            above.discard(id(node))
            done.add(id(node))
        elif id(node) in above:
            raise RecipeError(f"{where}: an alias (`*name`) stands inside of what it names.", "Write the value out.")
        elif isinstance(node, dict | list) and id(node) not in done:
            above.add(id(node))
            stack.append((node, True))
            stack += [(child, False) for child in (node.values() if isinstance(node, dict) else node)]
