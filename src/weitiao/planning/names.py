"""Finding an entry by a name that a person typed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def folded(name: str) -> str:
    """A name without what people write in different ways: case, and dots, dashes, underscores and blanks."""
    return re.sub(r"[-._\s]", "", name).lower()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to do about a name that is not known: the nearest ones, or all."""
    names = {folded(one): one for one in known}
    near = difflib.get_close_matches(folded(name), names, n=3)
    return (
        f"Did you mean {' or '.join(names[one] for one in near)}?"
        if near
        else f"Known are: {', '.join(names.values())}."
    )
