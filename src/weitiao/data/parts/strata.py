"""How many rows of each label a part of a split gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence


def stratified_quotas(counts: Sequence[int], sizes: Mapping[str, int]) -> list[Counter[str]]:
    """Divides the rows of each part among the labels, as all rows divide among them.

    Args:
        counts: How many rows each part shall get; fewer in all than there are rows.
        sizes: How many rows each label has.

    Returns:
        For each part the rows of each label: the exact share rounded up or down, the largest remainders up, as long
        as every label keeps a row that no part takes. A part gets fewer rows than its count only when all labels are
        down to that one row.
    """
    total = sum(sizes.values())
    free = Counter({label: size - 1 for label, size in sizes.items()})
    quotas = []
    for count in counts:
        exact = {label: count * size / total for label, size in sizes.items()}
        quota = Counter({label: min(int(part), free[label]) for label, part in exact.items()})
        order = sorted(exact, key=lambda label: (quota[label] - exact[label], label))
        while (missing := count - quota.total()) > 0:
            open_labels = [label for label in order if quota[label] < free[label]][:missing]
            if not open_labels:
                break
            quota.update(open_labels)
        free.subtract(quota)
        quotas.append(quota)
    return quotas
