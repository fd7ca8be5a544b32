"""Lines that many rows share, such as an instruction: they do not make two rows alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from weitiao.data.doctor.keys import fold
from weitiao.data.doctor.subject import Subject

_LEAST_ROWS = 10
_LEAST_SHARE = 0.01


def shared_lines(subjects: Iterable[Subject]) -> frozenset[str]:
    """The lines that stand in at least ten of the rows, and in at least one of a hundred.

    Args:
        subjects: The first rows of a source.
    """
    counts: Counter[str] = Counter()
    num_rows = 0
    for subject in subjects:
        num_rows += 1
        counts.update({fold(line) for text in subject.context for line in text.splitlines()})
    least = max(_LEAST_ROWS, num_rows * _LEAST_SHARE)
    return frozenset(line for line, count in counts.items() if line and count >= least)


def own_text(subject: Subject, shared: frozenset[str], folded: str) -> str:
    """What of a row's input tells it apart, folded.

    Without the words of the recipe's template and without lines that many rows share, unless nothing else is there.

    Args:
        subject: The row.
        shared: `shared_lines` of the data.
        folded: The whole input of the row, folded.
    """
    if subject.raw_input:
        return fold(subject.raw_input)
    if not shared:
        return folded
    lines = [fold(line) for text in subject.context for line in text.splitlines()]
    own = [line for line in lines if line not in shared]
    return " ".join(own) if own and len(own) < len(lines) else folded
