"""Whether a result in a run directory belongs to what else is there, so that it may be shown beside it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from weitiao.errors import ModelError
from weitiao.files import sha256
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.note import read_note
from weitiao.models.config import ModelConfig
from weitiao.runs.record import Records, digest_of
from weitiao.runs.run_dir import RunDir

OF = "of"
"""Key of a result for what it belongs to: `weights` (hash of base and adapter), `files` (name to SHA-256), `task`."""

Belonging = Literal["belongs", "skipped", "outdated", "replaced"]

_OF_WEIGHTS = frozenset({"eval", "retention-after", "compare", "verdict", "export"})


class Belongings:
    """Tells which files of a run directory belong to the weights, and to the other results, that lie there now.

    Args:
        run: The run directory.
        records: What `weitiao run` has done there; empty for a run that was made command by command.
    """

    def __init__(self, run: Path, records: Records) -> None:
        self._run, self._records = run, records
        self._digest = cache(lambda name: digest_of(run / name))
        self._weights = cache(self._weights_now)

    def of(self, name: str, step: str) -> Belonging:
        """Whether a file belongs.

        Args:
            name: The file.
            step: Which step's result it is; empty for none.

        Returns:
            `skipped` and `outdated` by the records; `replaced` when the file, the weights or a file that it was made
            from are not those that it belongs to.
        """
        if step in self._records.skipped:
            return "skipped"
        record = self._records.steps.get(step)
        if record is not None and not self._records.is_current(step):
            return "outdated"
        made_of = _read_of(self._run / name)
        recorded = None if record is None else record.outputs.get(name)
        if recorded not in (None, self._digest(name)) and not self._says_the_same(name, made_of):
            return "replaced"
        if step in _OF_WEIGHTS and not self._is_of_these_weights(made_of):
            return "replaced"
        files: dict[str, str] = made_of.get("files", {})
        return "belongs" if all(self._digest(other) == digest for other, digest in files.items()) else "replaced"

    def _says_the_same(self, name: str, made_of: dict[str, Any]) -> bool:
        """Whether scores that were written again are those of the very answers that `weitiao run` left; exports, to
        which more were added, say of which weights they are."""
        if name == "exports.json":
            return True
        record = self._records.steps.get("eval")
        answers = None if record is None else record.outputs.get("predictions.jsonl")
        return name == "scores.json" and answers is not None and made_of.get("files") == {"predictions.jsonl": answers}

    def _is_of_these_weights(self, made_of: dict[str, Any]) -> bool:
        final = RunDir(self._run).final
        if not final.exists():
            return True
        training = self._records.steps.get("train")
        if training is not None and training.outputs.get("final") not in (None, self._digest(final.name)):
            return False
        return made_of.get("weights") in (None, self._weights())

    def _weights_now(self) -> str | None:
        """The hash of the weights in `final/`; None when the note about the base model is missing."""
        final = RunDir(self._run).final
        if read_note(final) is None:
            return None
        try:
            return weights_hash(ModelConfig(name="unused"), final)
        except ModelError:  # damaged: nothing belongs to them
            return ""


def made_of(run: Path, *names: str, weights: str | None = None, **more: Any) -> dict[str, Any]:
    """What a result belongs to, for its key `of`.

    Args:
        run: The directory of the files.
        names: Files that it was made from.
        weights: Hash of base model and adapter.
        more: Further hashes.
    """
    files = {name: sha256(run / name) for name in names}
    return {**({} if weights is None else {"weights": weights}), "files": files, **more}


def _read_of(path: Path) -> dict[str, Any]:
    """The key `of` of a JSON file; empty when it has none, or is none."""
    if path.suffix != ".json":
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # what is damaged is named when it is read
        return {}
    found = values.get(OF) if isinstance(values, dict) else None
    return found if isinstance(found, dict) else {}
