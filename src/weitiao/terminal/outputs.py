"""What the commands did that write data or a model with more words, for people."""

from __future__ import annotations

from rich.table import Table

from weitiao.data.parts.mix_files import Mixture
from weitiao.data.parts.mixing import how_often
from weitiao.data.parts.split_files import Split
from weitiao.data.reading.paths import labels
from weitiao.data.writing.convert import Conversion
from weitiao.data.writing.rejected import Written
from weitiao.terminal.tables import table
from weitiao.vocabulary.extend import Cut, Extended

Facts = list[tuple[str, str]]


def conversion_facts(done: Conversion) -> Facts:
    """The lines of the closing panel."""
    facts = [
        ("from", f"{done.source}: {done.kind}, {done.source_format}, {done.rows_read:,} rows"),
        ("to", f"{done.output}: {done.format}, {done.rows_written:,} rows"),
    ]
    if done.joined_inputs:
        facts.append(("joined", f"{done.joined_inputs:,} rows: instruction and input are one question now"))
    if done.left_out_bad:
        facts.append(("left out", f"{done.left_out_bad:,} answers that were judged bad"))
    for name, rows in done.left_out_columns.items():
        facts.append(("left out", f"the column `{name}` of {rows:,} rows: {done.format} reads it as something else"))
    return facts + _closing(done)


def split_table(done: Split) -> Table:
    """Rows, share and different inputs of each part."""
    total = sum(done.rows.values())
    labels = ["labels"] if done.labels else []
    rows = [
        (part, count, f"{count / total:.1%}", done.inputs[part], *(len(done.labels[part]) for _ in labels))
        for part, count in done.rows.items()
    ]
    return table(("part", "rows", "share", "inputs", *labels), rows)


def split_facts(done: Split) -> Facts:
    """The lines of the closing panel."""
    facts = [(part, path) for part, path in done.files.items()]
    almost = ", nor does almost the same" if done.keep_together == "near" else ""
    facts.append(
        ("input", f"{done.input}, apart from case, punctuation and white space; none stands in two parts{almost}")
    )
    if done.apart:
        facts.append(
            ("note", f"{done.apart:,} pairs of rows that are almost the same are apart: their group is too large")
        )
    for part, asked in done.asked.items():
        if done.rows[part] != asked:
            facts.append(("note", f"{part} has {done.rows[part]:,} of {asked:,} rows: what is left must stay together"))
    if done.labels:
        every = set().union(*done.labels.values())
        for part, labels in done.labels.items():
            if lacking := sorted(every - labels.keys()):
                more = f" and {len(lacking) - 3:,} more" if len(lacking) > 3 else ""
                facts.append(("note", f"{part} has no row of {', '.join(lacking[:3])}{more}"))
    return facts + _closing(done)


def mixture_table(done: Mixture) -> Table:
    """What the mixture has of each source."""
    names = labels([one.path for one in done.sources])
    rows = [
        (name, one.rows, one.used, f"{one.used / done.rows:.1%}" if done.rows else "", how_often(one.used, one.rows))
        for one, name in zip(done.sources, names, strict=True)
    ]
    return table(("source", "rows", "used", "share", "each"), rows)


def mixture_facts(done: Mixture) -> Facts:
    """The lines of the closing panel."""
    return [("rows", f"{done.rows:,}"), ("file", done.output), *_closing(done)]


def _closing(done: Written) -> Facts:
    """What every command that writes rows tells: what was found while they were read, and which it left out."""
    notes = [("note", line) for line in done.findings]
    rejected = [("rejected", f"{done.rejected:,} rows, listed in {done.rejected_path}")] if done.rejected_path else []
    return notes + rejected


def extension_facts(done: Extended) -> list[tuple[str, str]]:
    """The lines of the closing panel."""
    facts = [("model", str(done.path))]
    if done.words:
        parts = f", {done.parts:,} of them parts that lead to a word" if done.parts else ""
        last = done.first_id + len(done.words) - 1
        facts.append(("words", f"{len(done.words):,} new, ids {done.first_id}-{last}{parts}"))
    if done.tokens:
        facts.append(("tokens", f"{len(done.tokens):,} new, never cut"))
    used = done.first_id + len(done.words) + len(done.tokens)
    spare = f"; {done.rows_after - used:,} without a token" if done.rows_after > used else ""
    facts.append(("embeddings", f"{done.rows_before:,} rows before, {done.rows_after:,} now{spare}"))
    for name, cut in (("corpus", done.corpus), ("kept", done.keep)):
        if cut is not None:
            facts += _facts(name, cut)
    return facts


def _facts(name: str, cut: Cut) -> list[tuple[str, str]]:
    before, after = cut.characters / cut.tokens_before, cut.characters / cut.tokens_after
    changed = f"{cut.changed:,} of {cut.tokens_before:,} tokens of before changed"
    return [
        (name, f"{before:.3f} characters a token before, {after:.3f} now ({cut.tokens_after:,} tokens)"),
        ("", f"{changed} ({cut.changed / cut.tokens_before:.2%})"),
    ]
