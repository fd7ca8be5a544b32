"""The same cleaning of single rows as a step of datatrove, which runs it on many files and machines.

datatrove reads shards, hands their documents through a pipeline and writes shards, in as many tasks as one likes, on
one machine, on Slurm or on Ray. What stands in one row alone is mended and dropped here by the very code of
`weitiao data clean`; duplicates over all shards are the matter of datatrove's own steps, for which each document's
`text` is what tells its row apart. Needs the extra `cluster`; see docs/cleaning.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import SourceConfig
from weitiao.data.reading.rows import Row
from weitiao.quality.meaning import find_meaning
from weitiao.quality.mend import Mender
from weitiao.quality.subject import SubjectReader
from weitiao.text.folding import fold

_HEAD_ROWS = 1_000


class CleanRows(PipelineStep):
    """Mends rows, and drops those that have to go for what stands in them.

    Args:
        config: What to do; fixes that compare rows (`duplicate`, `leak`, ...) are not done here.
        source: What the columns mean; found out from the first rows of each shard when it says nothing.
        rejected: Gets the rows that go, with `kind` and `reason`.
    """

    type = "weitiao"
    name = "clean rows"

    def __init__(self, config: CleanConfig, source: SourceConfig, rejected: JsonlWriter | None = None) -> None:
        super().__init__()
        self.config = config
        self.source = source
        self.rejected = rejected

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Cleans the documents of one task, whose rows stand in `metadata["row"]`."""
        documents = iter(data)
        head = list(islice(documents, _HEAD_ROWS))
        if not head:
            return
        rows = [Row(number, None, document.metadata["row"]) for number, document in enumerate(head, start=1)]
        meaning = find_meaning(self.source, rows, f"task {rank}")
        mend, read = Mender(self.config, meaning), SubjectReader(meaning)
        for number, document in enumerate(chain(head, documents), start=1):
            mended = mend(Row(number, None, document.metadata["row"]))
            if mended.drop is None:
                document.metadata["row"] = mended.row.data
                asked = read(mended.row).asked
                document.text = fold("\n".join(asked.texts)) if asked is not None else ""
                self.stat_update("kept", *(f"mended: {fix}" for fix in mended.applied))
                yield document
                continue
            self.stat_update(f"rejected: {mended.drop.kind}")
            if self.rejected is not None:
                entry = {"kind": mended.drop.kind, "reason": mended.drop.reason, "data": document.metadata["row"]}
                self.rejected.write(Document(text="", id=document.id, metadata={"row": entry}), rank)
        if self.rejected is not None:
            self.rejected.close()


def read_rows(folder: str | Path, **options: Any) -> JsonlReader:
    """A reader of JSON Lines that hands whole rows on.

    Args:
        folder: The folder with the shards, or an address that fsspec knows.
        options: Further settings of `JsonlReader`, such as `glob_pattern` or `limit`.
    """
    return JsonlReader(str(folder), adapter=_as_document, **options)


def write_rows(folder: str | Path, **options: Any) -> JsonlWriter:
    """A writer that writes the rows as they were read, without what datatrove adds.

    Args:
        folder: Where to.
        options: Further settings of `JsonlWriter`, such as `compression`.
    """
    return JsonlWriter(str(folder), adapter=_as_row, **options)


def _as_document(self: JsonlReader, data: dict[str, Any], path: str, id_in_file: int | str) -> dict[str, Any]:
    # datatrove leaves documents without text out; what the text is only the meaning of the columns tells.
    return {"text": "-", "id": f"{path}/{id_in_file}", "metadata": {"row": data}}


def _as_row(self: JsonlWriter, document: Document) -> dict[str, Any]:
    row: dict[str, Any] = document.metadata["row"]
    return row
