"""Finding an entry of a catalogue by a name that a person typed or a library gave."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping


def folded(name: str) -> str:
    """A name without what people write in different ways: case, and dots, dashes, underscores and blanks."""
    return re.sub(r"[-._\s]", "", name).lower()


def spellings(entries: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The key of every entry by its own folded name and by the others that it goes by."""
    return {folded(name): key for key, others in entries.items() for name in (key, *others)}


def did_you_mean(name: str, known: Mapping[str, str]) -> str:
    """What to do about a name that no entry has.

    Args:
        name: The name.
        known: As `spellings` gives it.

    Returns:
        One line: the keys that go by the most similar names, or all.
    """
    near = dict.fromkeys(known[one] for one in difflib.get_close_matches(folded(name), known, n=3))
    return f"Did you mean {' or '.join(near)}?" if near else f"Known are: {', '.join(dict.fromkeys(known.values()))}."
