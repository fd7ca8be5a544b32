"""What extending a vocabulary did, for people."""

from __future__ import annotations

from weitiao.vocabulary.extend import Cut, Extended


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
