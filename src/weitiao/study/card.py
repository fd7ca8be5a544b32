"""What a run directory tells for a model card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from weitiao.data.load import DataSet
from weitiao.data.reading.paths import data_files
from weitiao.errors import WeitiaoError
from weitiao.evaluation.comparison import COMPARISON_FILE, Comparison
from weitiao.evaluation.scores import read_scores
from weitiao.export.card import CardFacts
from weitiao.files import sha256
from weitiao.models.directory import licence
from weitiao.models.names import resolve_model
from weitiao.recipe import Recipe
from weitiao.records import record_of
from weitiao.retention.comparison import RetentionComparison
from weitiao.runs.belonging import Belongings
from weitiao.runs.record import read_records
from weitiao.runs.run_dir import RunDir


def card_facts(recipe: Recipe, data: DataSet) -> CardFacts:
    """What a run directory tells for a model card; results that belong to other weights are left out.

    Args:
        recipe: With `run_dir` set.
        data: Its data.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    run = RunDir(recipe.run_dir)
    belongs = Belongings(run.path, read_records(run.path))
    scored = (run.path / "scores.json").is_file() and belongs.of("scores.json", "eval") == "belongs"
    gain, retention = None, None
    if (run.path / COMPARISON_FILE).is_file() and belongs.of(COMPARISON_FILE, "compare") == "belongs":
        values = json.loads((run.path / COMPARISON_FILE).read_text(encoding="utf-8"))
        comparison = record_of(Comparison, values)
        gain = comparison.primary, comparison.gain.difference
        retention = None if values["retention"] is None else record_of(RetentionComparison, values["retention"])
    return CardFacts(
        name=run.path.resolve().name,
        base=_public(recipe.model.name),
        revision=recipe.model.revision,
        licence=licence(resolve_model(recipe.model)),
        method=recipe.method.type,
        data=[(one.part, _public(one.path), one.rows, _digest(recipe, one.path)) for one in data.summaries],
        scores=dict(read_scores(run.path / "scores.json").metrics) if scored else {},
        gain=gain,
        retention=retention,
        recipe=_recipe(run),
        versions=_versions(run),
    )


def _public(name: str) -> str:
    """A name as others may read it: of a path on this disk its last part."""
    return Path(name).name if Path(name).exists() else name


def _recipe(run: RunDir) -> str:
    """The recipe without the folders of this machine."""
    lines = run.recipe_path.read_text(encoding="utf-8").splitlines()
    return "\n".join(_without_folder(line) for line in lines)


def _without_folder(line: str) -> str:
    key, colon, value = line.partition(": ")
    path = Path(value.strip("'\""))
    return f"{key}{colon}{path.name}" if colon and path.is_absolute() else line


def _versions(run: RunDir) -> dict[str, str]:
    if not run.environment_path.is_file():
        return {}
    found: dict[str, str] = json.loads(run.environment_path.read_text(encoding="utf-8")).get("versions", {})
    return found


def _digest(recipe: Recipe, path: str) -> str | None:
    """SHA-256 of a source's files; None for what is not on this disk."""
    if not Path(path).exists():
        return None
    splits = [one.split for sources in recipe.data.sources.values() for one in sources if one.path == path]
    try:
        files = data_files(Path(path), splits[0] if splits else None)
    except WeitiaoError:  # a directory of another kind
        return None
    digests = [sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
