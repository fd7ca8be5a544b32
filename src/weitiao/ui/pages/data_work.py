"""What the page of the data lets be done in the process beside it: reading, rendering, checking and mending rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MOST_FINDINGS = 60
_ROWS_SHOWN = 3
_LONGEST_ROW = 600


def begin(folder: str, files: Sequence[str], model: str) -> dict[str, Any]:
    """The text of a first recipe for files, and what was found; where their columns say nothing, one that names them.

    Raises:
        WeitiaoError: A file cannot be read at all.
    """
    from weitiao.data.config import SourceConfig
    from weitiao.data.reading.files import OpenedSource, objects_of
    from weitiao.errors import DataError
    from weitiao.study.init.content import scalar, source_lines, text
    from weitiao.study.init.run import init_recipe

    output = Path(folder, ".first-recipe.yaml")
    try:
        output.unlink(missing_ok=True)
        made = init_recipe(files, output, model=model, tell=lambda line: None)
        return {"text": output.read_text(encoding="utf-8"), "notes": made.notes, "problem": None}
    except DataError as error:
        if not all(objects_of(OpenedSource(SourceConfig(path=one)).head) for one in files):
            raise
        lines = [(0, f"model: {scalar(model)}", ""), (0, "data:", "")]
        names = [str(Path(one).relative_to(folder)) if Path(one).is_relative_to(folder) else one for one in files]
        if len(names) == 1:
            lines += source_lines(1, "train", names[0], {})
        else:
            lines += [(1, "train:", ""), *(line for name in names for line in source_lines(2, "-", name, {}))]
        return {"text": text([error.what], lines), "notes": (), "problem": error.what}
    finally:
        output.unlink(missing_ok=True)


def added(file: str) -> dict[str, Any]:
    """What a source has to say about its columns beside its path; nothing where nobody can tell."""
    from weitiao.data.config import SourceConfig
    from weitiao.data.reading.files import OpenedSource, objects_of
    from weitiao.errors import DataError
    from weitiao.study.init.content import source_settings

    opened = OpenedSource(SourceConfig(path=file), num_head=1000)
    try:
        return source_settings(opened.head, opened.shown)[0]
    except DataError:
        if not objects_of(opened.head):
            raise
        return {}


def described(recipe: str) -> list[dict[str, Any]]:
    """Every source of a recipe; what is wrong with one stands in `error`."""
    from weitiao.errors import WeitiaoError
    from weitiao.recipe import load_recipe
    from weitiao.study.sources import describe

    found, loaded = [], load_recipe(Path(recipe))
    for part, sources in loaded.data.sources.items():
        for index, source in enumerate(sources):
            try:
                told = describe(loaded, part, index)
            except WeitiaoError as error:
                told = {"error": error.what, "remedy": error.remedy, "columns": [], "problems": []}
            columns = told.pop("columns")
            shown = {"part": part, "index": index, "path": source.path, "weight": source.weight}
            found.append({**told, **shown, "num_columns": len(columns)})
    return found


def previewed(
    recipe: str,
    part: str,
    index: int,
    number: int,
    roles: Mapping[str, str] | None,
    templates: Mapping[Any, str],
) -> dict[str, Any]:
    """A row as it is and as the model would see it, with the settings that a mapping comes to and their `etag`."""
    from weitiao.data.reading.files import objects_of
    from weitiao.errors import DataError
    from weitiao.recipe import load_recipe
    from weitiao.study.sources import head_of, preview, settings_of, understood

    loaded = load_recipe(Path(recipe))
    source = source_of(loaded, part, index)
    settings: dict[str, Any] | None = None
    told: dict[str, Any] = {}
    head, record = head_of(source), loaded.objective.rows().record
    if roles is None:
        found_roles, found_templates = understood(source, head, record)
        told = {"roles": found_roles, "templates": found_templates}
    else:
        try:
            settings = settings_of(roles, next(iter(objects_of(head)), {}))
            for name, template in templates.items():
                settings[name] = template
                settings.get("columns", {}).pop(name, None)
            if not settings.get("columns", True):
                del settings["columns"]
        except DataError as error:
            told = {"error": error.what, "remedy": error.remedy, "sequences": []}
    found = preview(loaded, part, index, settings, number)
    return {
        **found,
        **told,
        "settings": settings,
        "stamp": stamp(source.path),
        "record": record,
    }


def checked(recipe: str) -> dict[str, Any]:
    """The findings of the data check, with the first rows of each."""
    from rich.console import Console

    from weitiao.data.reading.json_values import to_json
    from weitiao.data.writing.revise import rows_of
    from weitiao.quality.settings import FIXABLE
    from weitiao.recipe import load_recipe
    from weitiao.study.check import check_recipe

    loaded = load_recipe(Path(recipe))
    report = check_recipe(loaded, console=Console(quiet=True))
    findings = [
        {**one.to_dict(), "fixable": one.kind in FIXABLE, "shown": [], "all": []}
        for one in report.findings[:_MOST_FINDINGS]
    ]
    wanted: dict[tuple[str, str, int], list[tuple[int, dict[str, Any]]]] = {}
    for one in findings:
        for place, number in enumerate(one["rows"][:_ROWS_SHOWN]):
            wanted.setdefault((one["part"], one["file"], number), []).append((place, one))
    for part, sources in loaded.data.sources.items():
        for index, source in enumerate(sources):
            if not any(one == part for one, _, _ in wanted):
                continue
            for (file, number), shown, row in rows_of(source):
                for place, one in wanted.get((part, shown, number), ()):
                    text = row.data if isinstance(row.data, str) else to_json(row.data)
                    other = one["others"][place] if one.get("others") else ""
                    address = {"part": part, "source": index, "file": file, "row": number}
                    one["all"] = [(file, row) for row in one["rows"]]
                    one["shown"].append({**address, "text": text[:_LONGEST_ROW], "other": other})
    return {
        "findings": findings, "num_findings": len(report.findings), "rows": report.rows, "left_out": report.left_out,
        "has_errors": report.has_errors, "seconds": report.seconds,
    }  # fmt: skip


def mended(recipe: str, fixes: Sequence[str], folder: str) -> dict[str, Any]:
    """Clean every training source into a folder.

    Returns:
        `files`, one for each source; `before`, `after`, `changed` rows.
    """
    from weitiao.data.clean_config import CleanConfig
    from weitiao.quality.check import CLEANED, clean
    from weitiao.quality.sources import Part
    from weitiao.recipe import load_recipe
    from weitiao.study.check import parts_of_recipe

    loaded = load_recipe(Path(recipe))
    config = CleanConfig.model_validate({**loaded.data.clean.model_dump(), "fix": tuple(fixes)})
    others = [one for one in parts_of_recipe(loaded.data) if one.name not in ("train", "replay")]
    files, before, after, changed = [], 0, 0, 0
    for index, source in enumerate(loaded.data.train):
        done = clean([Part("train", (source,)), *others], config, Path(folder, f"train-{index}"))
        files.append(f"train-{index}/{CLEANED}")
        before, after = before + done.rows_before, after + done.rows_after
        changed += done.rows_changed
    return {"files": files, "before": before, "after": after, "changed": changed}


def read_row(recipe: str, part: str, index: int, file: int, number: int) -> dict[str, Any]:
    """A row whole, as texts: `columns` of name, text, and whether the text is JSON; and `seen`."""
    from weitiao.data.reading.json_values import to_json
    from weitiao.data.writing.revise import digest_of, row_at
    from weitiao.recipe import load_recipe

    row = row_at(source_of(load_recipe(Path(recipe)), part, index), (file, number))
    columns = [
        (str(name), value if isinstance(value, str) else to_json(value), not isinstance(value, str))
        for name, value in row.items()
    ]
    return {"columns": columns, "seen": digest_of(row)}


def revised(
    recipe: str, part: str, index: int, drop: Sequence[tuple[int, int]], edit: Mapping[str, Any] | None, output: str
) -> int:
    """Write a source without some rows, and with another one changed.

    Args:
        recipe, part, index: Which source.
        drop: File and number of the rows that go.
        edit: `file`, `row`, `seen` and `values` (texts by the place of their column) of the one that changes.
        output: The file.
    """
    import json

    from weitiao.data.reading.json_values import to_json
    from weitiao.data.writing.revise import Edit, revise, row_at
    from weitiao.errors import DataError
    from weitiao.recipe import load_recipe

    source, edits = source_of(load_recipe(Path(recipe)), part, index), {}
    if edit is not None:
        at, values = (edit["file"], edit["row"]), {}
        before = row_at(source, at)
        for place, (name, value) in enumerate(before.items()):
            shown, is_text = (value, True) if isinstance(value, str) else (to_json(value), False)
            given = edit["values"].get(place, shown)
            if given == shown.replace("\r\n", "\n").replace("\r", "\n"):  # as browsers hand it back
                continue
            try:
                values[name] = given if is_text else json.loads(given)
            except ValueError as error:
                raise DataError(
                    f"`edit.values.{place}`: {name} is not valid JSON: {error}.", "Write a JSON value."
                ) from error
        edits[at] = Edit(edit["seen"], values)
    return revise(source, Path(output), drop=set(drop), edits=edits)


def source_of(recipe: Any, part: str, index: int) -> Any:
    """A source of a recipe.

    Raises:
        DataError: There is none.
    """
    from weitiao.errors import DataError

    sources = recipe.data.sources.get(part, ())
    if not 0 <= index < len(sources):
        raise DataError(f"{part} has no source {index}.", "Reload the page.")
    return sources[index]


def stamp(path: str) -> str:
    """Changes when files at a path do; empty for what does not lie here."""
    place = Path(path)
    files = sorted(place.iterdir()) if place.is_dir() else [place] if place.exists() else []
    return "|".join(f"{one.name}:{(stat := one.stat()).st_mtime_ns}:{stat.st_size}" for one in files)
