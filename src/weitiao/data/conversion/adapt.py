"""Between the kinds of rows: examples, preferences, judged answers."""

from __future__ import annotations

from weitiao.data.conversion.records import RecordFormat
from weitiao.data.example import Example
from weitiao.data.formats.preference import Judged, Preference, Record
from weitiao.errors import DataError


def check_formats(source: RecordFormat, target: RecordFormat, shown: str) -> None:
    """Refuses conversions that no row can pass.

    Raises:
        DataError: The rows of the source lack what the target is about.
    """
    if source in ("preference", "kto"):
        lacks = "raw text" if target == "text" else ""
    elif target == "preference":
        lacks = "a better and a worse answer to each prompt"
    elif target == "kto":
        lacks = "a mark for good or bad"
    elif source == "text" and target != "text":
        lacks = "questions and answers"
    else:
        lacks = "raw text" if target == "text" and source != "text" else ""
    if lacks:
        raise DataError(
            f"{shown}: is {source}, and its rows do not have {lacks}, so it cannot become {target}.",
            "Choose another format with --to, or say with --from and --column what the columns mean.",
        )


def adapted(record: Record, target: RecordFormat) -> tuple[Record, ...]:
    """The rows of the target's kind that a row gives.

    A preference gives two judged answers, or an example with the better answer; a judged answer gives an example when
    it is good, and nothing when it is bad. Two judged answers make a preference in `pairing`.
    """
    match record:
        case Example():
            return (record,)
        case Preference(row_id, prompt, chosen, rejected, tools, columns):
            if target == "preference":
                return (record,)
            if target == "kto":
                return (
                    Judged(row_id, prompt, chosen, True, tools, columns),
                    Judged(row_id, prompt, rejected, False, tools, columns),
                )
            return (Example(row_id, (*prompt, *chosen), tools=tools, columns=columns),)
        case Judged(row_id, prompt, completion, label, tools, columns):
            if target == "kto":
                return (record,)
            return (Example(row_id, (*prompt, *completion), tools=tools, columns=columns),) if label else ()
