"""Long texts as windows, in which the loss of every token counts once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def windows(
    ids: Sequence[int], *, limit: int, overlap: int, bos: int | None
) -> Iterator[tuple[list[int], list[float]]]:
    """Cut a text into windows, each of which begins with the last tokens of the one before.

    Args:
        ids: More than `limit` token ids.
        limit: Tokens of a window.
        overlap: Tokens that a window has in common with the one before, and does not learn; at most `limit - 2`.
        bos: The token that begins every window where it begins the text: it is what the model knows a beginning by.

    Returns:
        Ids and loss weights of every window. Every token of the text but the first is learned once.
    """
    head = list(ids[:1]) if ids[0] == bos else []
    body, room = ids[len(head) :], limit - len(head)
    for start in range(0, len(body) - overlap, room - overlap):
        window = [*head, *body[start : start + room]]
        known = len(head) + overlap if start else 1
        yield window, [0.0] * known + [1.0] * (len(window) - known)
