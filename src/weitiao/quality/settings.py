"""What a check looks for, and which checks cannot run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from weitiao.errors import DataError
from weitiao.quality.kinds import KINDS

EXTRA = "data"
NEEDS: Mapping[str, str] = {
    "encoding": "ftfy",
    "label_typo": "rapidfuzz",
    "personal_data": "stdnum",
    "language": "py3langid",
}
"""The module that a check needs, and that the extra `data` brings."""

_WITHOUT = {
    "encoding": "mojibake is not looked for; bytes that are not UTF-8 are",
    "language": "languages of one script are not told apart; scripts are",
}


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """The limits of a check.

    Attributes:
        kinds: Which kinds to look for.
        near_threshold: Rows whose shingles have at least this Jaccard similarity are near duplicates.
        max_characters: A row with more characters is `long`, where no tokenizer counts.
        max_tokens: A row with more tokens is `long`, where a tokenizer counts.
        special_tokens: The special tokens of the tokenizer in use.
        workers: Processes that look at rows.
    """

    kinds: frozenset[str] = field(default_factory=lambda: frozenset(KINDS))
    near_threshold: float = 0.8
    max_characters: int = 32_000
    max_tokens: int | None = None
    special_tokens: tuple[str, ...] = ()
    workers: int = 1

    def __post_init__(self) -> None:
        unknown = self.kinds - KINDS.keys()
        if unknown:
            raise DataError(f"There is no check {', '.join(sorted(unknown))}.", f"The checks are {', '.join(KINDS)}.")

    def available(self, kind: str) -> bool:
        """Whether a kind is looked for and what it needs is installed."""
        return kind in self.kinds and not (kind in NEEDS and find_spec(NEEDS[kind]) is None)

    def left_out(self) -> dict[str, str]:
        """The kinds that were asked for and cannot be looked for, each with the reason."""
        reasons = {}
        for kind, module in NEEDS.items():
            if kind in self.kinds and find_spec(module) is None:
                what = f"; {_WITHOUT[kind]}" if kind in _WITHOUT else ""
                reasons[kind] = f"the package {module} is not installed (pip install 'weitiao[{EXTRA}]'){what}"
        return reasons
